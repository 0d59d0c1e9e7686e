from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from orchestrator.spec import ModelSpec, OutputSpec
from orchestrator.verify.reference import EagerError, Reference, array, compute
from tests.verify import samples

ONE = replace(
    samples.PAIR, dims={"batch": samples.PAIR.dims["batch"]}, inputs=samples.PAIR.inputs[:1], outputs=samples.PAIR.outputs[:1]
)


class Calls(torch.nn.Module):
    """A layer whose answer a function makes."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(16, 3)
        self.function = function

    def forward(self, left: torch.Tensor) -> Any:
        return self.function(self.layer(left))


class Answer(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor | None


@dataclasses.dataclass
class Record:
    first: torch.Tensor
    second: torch.Tensor


def judge(function: Any, model: ModelSpec = ONE, dtype: str = "float32") -> Reference:
    return compute(samples.seeded(lambda: Calls(function)).to(getattr(torch, dtype)), model, dtype, samples.SPEC)


def kinds(found: Reference) -> list[str]:
    return [finding.kind for finding in found.findings]


def outputs(*names: str) -> tuple[OutputSpec, ...]:
    return tuple(OutputSpec(name=name) for name in names)


def test_every_probe_has_inputs_and_answers_in_both_precisions() -> None:
    found = judge(torch.relu)
    assert [probe.name for probe in found.probes] == ["example", "batch=1", "batch=3"]
    for probe in found.probes:
        assert probe.exact is not None
        assert (probe.outputs[0].dtype, probe.exact[0].dtype) == (np.float32, np.float64)
        assert np.abs(probe.outputs[0] - probe.exact[0]).max() < 1e-5
    assert (found.vacuous, found.findings) == ({}, ())


@pytest.mark.parametrize(
    "function",
    [
        lambda y: (y, y + 1),
        lambda y: [y, None, y + 1],
        lambda y: {"b": y, "a": y + 1},
        lambda y: Record(y, y + 1),
        lambda y: Answer(y, y + 1),
        lambda y: {"b": (y, [y + 1])},
    ],
)
def test_answers_are_flattened_in_their_order(function: Any) -> None:
    example = judge(function, replace(ONE, outputs=outputs("first", "second"))).example
    assert np.allclose(example.outputs[0] + 1, example.outputs[1])


def test_another_number_of_outputs_than_declared_is_told_with_both_numbers() -> None:
    with pytest.raises(EagerError, match=r"answers with 1 tensors.*declares 2 outputs \(first, second\)"):
        judge(torch.relu, replace(ONE, outputs=outputs("first", "second")))


def test_a_number_of_outputs_that_depends_on_the_size_is_told() -> None:
    with pytest.raises(EagerError, match="answers with 1 tensors on batch=1"):
        judge(lambda y: (y, y + 1) if len(y) > 1 else (y,), replace(ONE, outputs=outputs("first", "second")))


def test_a_model_that_raises_on_its_example_is_no_reference() -> None:
    def fail(_: torch.Tensor) -> torch.Tensor:
        raise IndexError("out of range\nsecond line")

    with pytest.raises(EagerError, match=r"raises on example: IndexError: out of range$"):
        judge(fail)


def test_a_probe_on_which_eager_raises_is_left_out_and_found() -> None:
    def only_few(y: torch.Tensor) -> torch.Tensor:
        assert len(y) < 3, "too many"
        return y

    found = judge(only_few)
    assert [probe.name for probe in found.probes] == ["example", "batch=1"]
    assert [(f.kind, f.message) for f in found.findings] == [
        ("eager_raises", "the model itself raises on batch=3: AssertionError: too many")
    ]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda y: y.abs() * 0, "is 0.0 everywhere on all probes"),
        (lambda y: y * 0 + 2, "is 2.0 everywhere on all probes"),
        (lambda y: y * float("nan"), "is nan everywhere on all probes"),
        (lambda y: y[:0], "is empty on all probes"),
        (lambda y: (y * 0).argmax(1), "is 0 everywhere on all probes"),
    ],
)
def test_an_output_that_tells_nothing_is_refused_unless_it_is_meant(function: Any, reason: str) -> None:
    assert judge(function).vacuous == {"scores": reason}
    meant = replace(ONE, outputs=(OutputSpec(name="scores", constant=True),))
    assert judge(function, meant).vacuous == {}


def test_a_model_that_answers_differently_each_time_is_found() -> None:
    assert "nondeterministic_model" in kinds(judge(lambda y: y + torch.rand(1)))
    assert kinds(judge(torch.relu)) == []


def test_nan_in_the_answer_is_no_difference_between_two_runs() -> None:
    assert kinds(judge(lambda y: torch.where(y > 0, y, float("nan")))) == []


def test_without_float64_the_reference_says_so() -> None:
    def single_only(y: torch.Tensor) -> torch.Tensor:
        if y.dtype is torch.float64:
            raise TypeError("no double here")
        return y

    found = judge(single_only)
    assert kinds(found) == ["no_float64"]
    assert all(probe.exact is None for probe in found.probes)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_answers_keep_the_cells_dtype(dtype: str) -> None:
    example = judge(torch.relu, dtype=dtype).example
    assert {example.outputs[0].dtype.name, example.inputs["left"].dtype.name} == {dtype}
    assert (example.exact is None) is (dtype == "float64")


def test_the_module_is_left_as_it_was_also_in_training_mode() -> None:
    class Trains(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(16)

        def forward(self, left: torch.Tensor) -> torch.Tensor:
            return self.norm(left)

    model = replace(ONE, dims={"batch": replace(ONE.dims["batch"], min=2)}, mode="train")
    module = Trains().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    compute(module, model, "float32", samples.SPEC)
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_a_model_that_writes_into_its_input_does_not_spoil_the_probe() -> None:
    class Writes(torch.nn.Module):
        def forward(self, left: torch.Tensor) -> torch.Tensor:
            return left.mul_(2)

    example = compute(Writes(), ONE, "float32", samples.SPEC).example
    assert np.allclose(example.outputs[0], example.inputs["left"] * 2)


def test_arrays_are_copies() -> None:
    tensor = torch.zeros(2)
    values = array(tensor)
    tensor += 1
    assert values.tolist() == [0, 0]


def test_a_float64_answer_of_another_shape_is_found() -> None:
    found = judge(lambda y: y[:1] if y.dtype is torch.float64 else y)
    assert "no_float64" in kinds(found)
    assert found.example.exact is None


def test_nan_in_bfloat16_is_no_difference_between_two_runs() -> None:
    assert kinds(judge(lambda y: torch.where(y > 0, y, float("nan")), dtype="bfloat16")) == []


def test_a_model_that_counts_its_calls_in_eval_mode_is_left_as_it_was() -> None:
    class Counts(torch.nn.Module):
        calls: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, left: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return left + 0 * self.calls

    module = Counts().eval()
    found = compute(module, ONE, "float32", samples.SPEC)
    assert module.calls.item() == 0
    assert kinds(found) == []
