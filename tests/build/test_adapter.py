from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from exporters.base import Dim, Emission, Example, TensorSpec
from exporters.registry import EXPORTERS
from orchestrator.build.adapter import Adapter, flatten, is_plain, leaves, output_names
from tests.declared import OPTIONS

ONE, TWO, THREE = torch.tensor(1), torch.tensor(2), torch.tensor(3)
Pair = namedtuple("Pair", "first second")


class Layer:
    """Of a cache as transformers has them."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        self.keys, self.values = keys, values


class Cache:
    """As transformers has them: neither a mapping nor a sequence."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers


@dataclass
class Answer:
    state: torch.Tensor
    score: torch.Tensor | None
    parts: tuple[torch.Tensor, ...] = ()


class ByName(torch.nn.Module):
    """Answers with a dataclass and takes `mask` and `scale` by name only, as transformers models do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, *, scale: torch.Tensor, mask: torch.Tensor) -> Answer:
        return Answer(state=self.linear(x) * mask[..., None], score=scale * 2, parts=(mask,))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ONE, [ONE]),
        ((ONE, [TWO, (THREE,)]), [ONE, TWO, THREE]),
        ({"b": ONE, "a": TWO}, [ONE, TWO]),
        (OrderedDict(b=ONE, a=None), [ONE]),
        (Pair(first=TWO, second={"x": ONE}), [TWO, ONE]),
        (Answer(state=TWO, score=None, parts=(ONE, THREE)), [TWO, ONE, THREE]),
    ],
)
def test_answers_are_flattened_in_their_own_order(answer: Any, expected: list[torch.Tensor]) -> None:
    assert [int(tensor) for tensor in flatten(answer)] == [int(tensor) for tensor in expected]


@pytest.mark.parametrize("answer", [Answer(state=ONE, score=TWO), {"state": ONE, "score": TWO}, Pair(first=ONE, second=TWO)])
def test_fields_are_selected_in_the_order_of_the_selection(answer: Any) -> None:
    names = ("second", "first") if isinstance(answer, Pair) else ("score", "state")
    assert [int(tensor) for tensor in flatten(answer, names)] == [2, 1]


def test_what_is_no_tensor_is_named_with_the_way_out() -> None:
    with pytest.raises(TypeError, match=r"holds a int at 'step'; choose with `select`"):
        list(flatten({"loss": ONE, "step": 3}))


def test_a_field_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match="logits"):
        list(flatten({"state": ONE}, ("logits",)))


@pytest.mark.parametrize(
    ("answer", "places"),
    [
        (ONE, [""]),
        ((ONE, [TWO, {"a b": THREE}]), ["0", "1.0", "1.1.a b"]),
        (Answer(state=ONE, score=None, parts=(TWO, THREE)), ["state", "parts.0", "parts.1"]),
        ({"logits": ONE, "past": Cache(Layer(TWO, THREE))}, ["logits", "past.0.key", "past.0.value"]),
        (Pair(first=None, second={7: ONE}), ["second.7"]),
    ],
)
def test_each_tensor_has_a_place(answer: Any, places: list[str]) -> None:
    assert [place for place, _ in leaves(answer)] == places


def test_a_place_is_selected_with_all_below_it_and_what_is_beside_it_does_not_matter() -> None:
    answer = {"loss": 3.5, "past": ({"key": ONE, "value": TWO}, {"key": THREE, "value": ONE})}
    assert [(place, int(tensor)) for place, tensor in leaves(answer, ("past.1.key", "past.0"))] == [
        ("past.1.key", 3),
        ("past.0.key", 1),
        ("past.0.value", 2),
    ]


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (ONE, ("output",)),
        ((ONE, TWO), ("output.0", "output.1")),
        ({"x": ONE, "hidden": TWO, "a b": THREE}, ("output.x", "embedding", "a_b")),
    ],
)
def test_an_output_is_named_after_its_place(answer: Any, names: tuple[str, ...]) -> None:
    rename = {"hidden": "embedding"} if isinstance(answer, dict) else {}
    assert output_names(answer, (), ["x"], rename) == names


def test_a_name_that_is_not_there_cannot_be_changed() -> None:
    with pytest.raises(KeyError, match="there is no output 'hiden'; there are: hidden"):
        output_names({"hidden": ONE}, (), (), {"hiden": "embedding"})


@pytest.mark.parametrize(("answer", "rename"), [({"a b": ONE, "a_b": TWO}, {}), ({"a": ONE, "b": TWO}, {"a": "b"})])
def test_no_two_outputs_get_one_name(answer: Any, rename: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="two outputs would be called"):
        output_names(answer, (), (), rename)


def test_plain_answers_are_told_from_others() -> None:
    assert is_plain(ONE)
    assert is_plain((ONE, TWO))
    assert not any(is_plain(answer) for answer in ([ONE], Pair(ONE, TWO), (ONE, (TWO,)), {"a": ONE}, (ONE, None), 3))


@pytest.mark.parametrize("training", [True, False])
def test_the_wrapper_is_in_the_mode_of_the_module(training: bool) -> None:
    assert Adapter(ByName().train(training)).training is training


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_wrapped_module_exports_with_inputs_by_name_and_an_answer_of_fields(exporter: str, tmp_path: Path) -> None:
    module = Adapter(ByName().eval(), keywords=("mask", "scale"), select=("score", "state"))
    specs = (
        TensorSpec(name="x", shape=("batch", 4), dtype="float32"),
        TensorSpec(name="mask", shape=("batch",), dtype="float32"),
        TensorSpec(name="scale", shape=("batch", 2), dtype="float32"),
    )
    values = {spec.name: torch.rand([2 if size == "batch" else int(size) for size in spec.shape]) for spec in specs}
    example = Example(specs=specs, values=values, outputs=("score", "state"))
    dims = {"batch": Dim(name="batch", min=1, max=8)}
    emissions = EXPORTERS[exporter](module, example, dims, (20,), OPTIONS[exporter], tmp_path)
    [emission] = [item for item in emissions if isinstance(item, Emission)]
    other = {"x": torch.rand(5, 4), "mask": torch.rand(5), "scale": torch.rand(5, 2)}
    session = onnxruntime.InferenceSession(tmp_path / emission.files[0])
    found = session.run(None, {name: value.numpy() for name, value in other.items()})
    with torch.no_grad():
        expected = module(*other.values())
    assert [item.name for item in session.get_outputs()] == ["score", "state"]
    for actual, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(actual, wanted.numpy(), rtol=1e-5, atol=1e-6)
