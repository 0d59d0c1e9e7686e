from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from orchestrator.verify.uses import Constant, Uses, observe
from tests.verify import samples


class Calls(torch.nn.Module):
    """A square layer, a bias and a buffer, that a function makes an answer of."""

    weight: torch.nn.Parameter
    table: torch.Tensor

    def __init__(self, function: Callable[[Calls, torch.Tensor], Any]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(4, 4))
        self.bias = torch.nn.Parameter(torch.rand(4))
        self.register_buffer("table", torch.rand(4))
        self.function = function

    def forward(self, values: torch.Tensor) -> Any:
        return self.function(self, values)


def watched(function: Callable[[Calls, torch.Tensor], Any], *inputs: torch.Tensor) -> tuple[Uses, dict[str, Constant]]:
    module = samples.seeded(lambda: Calls(function))
    uses = observe(module, [[values] for values in inputs or (torch.ones(2, 4),)])
    return uses, {constant.name: constant for constant in uses.constants}


@pytest.mark.parametrize(
    ("function", "used"),
    [
        (lambda m, x: torch.nn.functional.linear(x, m.weight, m.bias), {"weight", "bias"}),
        (lambda m, x: x + m.table, {"table"}),
        (lambda m, x: x + torch.zeros_like(m.table), set()),
        (lambda m, x: x.new_zeros(m.table.shape), set()),
        (lambda m, x: x + (m.weight.exp() * m.bias).sum(), {"weight", "bias"}),
        (lambda m, x: (x, m.bias), {"bias"}),
        (lambda m, x: (x, m.weight.exp())[0], set()),
        (lambda m, x: x * m.table[0].item(), {"table"}),
    ],
)
def test_a_tensor_is_used_if_the_answer_can_depend_on_it(function: Any, used: set[str]) -> None:
    _, constants = watched(function)
    assert {name for name, constant in constants.items() if constant.used} == used


def test_every_run_counts() -> None:
    _, constants = watched(lambda m, x: x + (m.bias if x.sum() > 0 else m.table), torch.ones(2, 4), -torch.ones(2, 4))
    assert constants["bias"].used
    assert constants["table"].used
    assert constants["table"].opaque == ""


@pytest.mark.parametrize(
    ("function", "turned"),
    [
        (lambda m, x: torch.nn.functional.linear(x, m.weight), {True}),
        (lambda m, x: x @ m.weight, {False}),
        (lambda m, x: x @ m.weight + x @ m.weight.T, {True, False}),
        (lambda m, x: x * m.weight.sum(), set()),
    ],
)
def test_it_is_seen_how_a_matrix_is_multiplied(function: Any, turned: set[bool]) -> None:
    assert watched(function)[1]["weight"].turned == turned


def test_what_is_computed_of_constants_alone_is_one_too() -> None:
    uses, constants = watched(lambda m, x: x * (m.bias.exp() + m.table))
    computed = [constant for constant in uses.all if constant.computed]
    assert [constant.name for constant in computed] == ["bias (exp)", "bias (exp) (add)"]
    assert torch.equal(computed[1].tensor, constants["bias"].tensor.exp() + constants["table"].tensor)
    assert computed[1].bits == constants["bias"].bits | constants["table"].bits
    assert (constants["bias"].views, len(computed[1].views)) == ({}, 1)


def test_what_comes_before_a_use_and_beside_it_is_known() -> None:
    _, constants = watched(lambda m, x: torch.nn.functional.linear(x, m.weight, m.bias) * m.table)
    weight, bias, table = constants["weight"], constants["bias"], constants["table"]
    assert (weight.before, weight.beside) == ([0], weight.bits | bias.bits)
    assert table.before == [weight.bits | bias.bits]


def test_a_model_that_writes_into_its_buffer_is_left_as_it_was_and_told() -> None:
    def count(module: Calls, values: torch.Tensor) -> torch.Tensor:
        module.table += 1
        return values + module.table

    module = samples.seeded(lambda: Calls(count))
    before = module.table.clone()  # type: ignore[operator]
    uses = observe(module, [[torch.ones(2, 4)]])
    assert torch.equal(module.table, before)  # type: ignore[arg-type]
    assert [constant.opaque for constant in uses.constants if constant.name == "table"] == ["the model writes into it"]


def test_a_tied_tensor_has_all_its_names() -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = torch.nn.Linear(4, 4)
            self.other = torch.nn.Linear(4, 4)
            self.other.weight = self.one.weight

        def forward(self, values: torch.Tensor) -> Any:
            return self.other(self.one(values))

    names = [constant.aliases for constant in observe(samples.seeded(Tied), [[torch.ones(2, 4)]]).constants]
    assert names == [("one.weight", "other.weight"), ("one.bias",), ("other.bias",)]


def test_a_batch_norm_is_seen_with_the_product_that_it_normalises() -> None:
    layers = samples.seeded(lambda: torch.nn.Sequential(torch.nn.Conv1d(3, 4, 1), torch.nn.BatchNorm1d(4, eps=0.25)))
    (fold,) = observe(layers, [[torch.ones(2, 3, 5)]]).folds
    assert [member.name for member in fold.members] == [
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"
    ]  # fmt: skip
    assert (fold.epsilon, fold.channel) == (0.25, 0)


def test_an_operator_between_ends_the_pair() -> None:
    layers = samples.seeded(lambda: torch.nn.Sequential(torch.nn.Conv1d(3, 4, 1), torch.nn.ReLU(True), torch.nn.BatchNorm1d(4)))
    (fold,) = observe(layers, [[torch.ones(2, 3, 5)]]).folds
    assert fold.weight is None
