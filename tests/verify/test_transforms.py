from __future__ import annotations

import numpy as np
import pytest
import torch

from orchestrator.verify.transforms import GATES, Recipe, recipes
from orchestrator.verify.uses import observe
from tests.verify import samples


def made(module: torch.nn.Module, values: torch.Tensor) -> list[Recipe]:
    uses = observe(module, [[values]])
    return list(recipes(uses, uses.constants))


@pytest.mark.parametrize(
    ("layer", "values"),
    [
        (lambda: torch.nn.Conv2d(4, 6, 3, groups=2), torch.ones(2, 4, 5, 5)),
        (lambda: torch.nn.Conv2d(4, 6, 3, bias=False), torch.ones(2, 4, 5, 5)),
        (lambda: torch.nn.ConvTranspose2d(4, 6, 3, groups=2), torch.ones(2, 4, 5, 5)),
    ],
)
def test_the_folded_weights_answer_as_the_two_layers_do(layer: type[torch.nn.Module], values: torch.Tensor) -> None:
    first, norm = samples.seeded(layer), samples.seeded(lambda: torch.nn.BatchNorm2d(6, affine=True))
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        torch.nn.init.uniform_(tensor, 0.5, 1.5)  # type: ignore[arg-type]
    expected = norm(first(values)).detach()
    folded = made(torch.nn.Sequential(first, norm).eval(), values)[0]
    weight, bias = (torch.from_numpy(part.values) for part in folded.parts)
    first.weight, first.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
    assert torch.allclose(first(values), expected, atol=1e-5)


def test_a_batch_norm_alone_is_one_multiplication_and_one_addition() -> None:
    norm = samples.seeded(lambda: torch.nn.BatchNorm1d(3))
    for tensor in (norm.running_mean, norm.running_var):
        torch.nn.init.uniform_(tensor, 0.5, 1.5)  # type: ignore[arg-type]
    values = torch.rand(4, 3)
    (recipe,) = made(norm, values)
    scale, shift = (part.values for part in recipe.parts)
    assert np.allclose(values.numpy() * scale + shift, norm(values).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize(("kind", "gates"), [(torch.nn.LSTM, 4), (torch.nn.GRU, 3)])
def test_gates_are_in_onnxs_order(kind: type[torch.nn.RNNBase], gates: int) -> None:
    module = samples.seeded(lambda: kind(2, 1, bidirectional=True))  # type: ignore[call-arg, arg-type]
    found = made(module, torch.ones(5, 1, 2))
    forward = module.weight_ih_l0.detach().numpy()  # type: ignore[operator]
    assert found[0].parts[0].values.shape == (2 * gates, 2)
    assert np.array_equal(found[0].parts[0].values[:gates], forward[[*GATES[kind.__name__]]])


def test_only_what_is_wanted_is_made() -> None:
    uses = observe(samples.seeded(lambda: torch.nn.LSTM(2, 1)), [[torch.ones(5, 1, 2)]])
    assert [*recipes(uses, [])] == []
    (bias,) = (constant for constant in uses.constants if constant.name == "bias_ih_l0")
    assert all(bias in recipe.of for recipe in recipes(uses, [bias]))
