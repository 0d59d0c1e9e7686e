from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from orchestrator.result import CheckStatus
from tests.verify import samples

ONE = replace(
    samples.PAIR, dims={"batch": samples.PAIR.dims["batch"]}, inputs=samples.PAIR.inputs[:1], outputs=samples.PAIR.outputs[:1]
)


class Baked(torch.nn.Module):
    """Turns a size into a Python number, which a trace keeps."""

    def forward(self, left: torch.Tensor) -> torch.Tensor:
        return left.reshape(int(left.shape[0]), 4, 4).sum(2) + torch.arange(int(left.shape[0]))[:, None]


class Positions(torch.nn.Module):
    """A mask that is built for the length of the example; broadcasting hides it from a size of 1 only."""

    def forward(self, left: torch.Tensor) -> torch.Tensor:
        return left * torch.arange(len(left)).unsqueeze(1)


def test_a_size_that_a_trace_baked_in_fails_at_other_sizes_only(tmp_path: Path) -> None:
    found = samples.failing(samples.make(tmp_path, Baked(), ONE))
    assert "shapes" in found
    assert "parity" not in found
    assert "batch=1" in found["shapes"]
    assert "ONNX Runtime fails on it" in found["shapes"] or "shape" in found["shapes"]


def test_a_constant_of_the_examples_length_fails_although_it_loads(tmp_path: Path) -> None:
    found = samples.failing(samples.make(tmp_path, Positions(), ONE))
    assert found.keys() & {"shapes", "interface"}
    assert "parity" not in found


class Centred(torch.nn.Module):
    """The distance from a weighted mean of all rows: of a single row it is what rounding leaves of zero."""

    def forward(self, left: torch.Tensor) -> torch.Tensor:
        weights = left.sum(1, keepdim=True).abs() + 0.1
        return (weights * left).sum(0) / weights.sum(0) - left


def test_an_answer_that_is_zero_but_for_rounding_is_no_alarm(tmp_path: Path) -> None:
    check = samples.verdicts(samples.make(tmp_path, Centred(), ONE))["shapes"]
    assert check.status is CheckStatus.PASSED, check.detail
    assert "batch=1" in [probe.probe for probe in check.probes]


def test_a_model_without_dynamic_dimensions_has_no_other_sizes(tmp_path: Path) -> None:
    static = replace(ONE, dims={}, inputs=(replace(ONE.inputs[0], shape=(2, 16)),))
    check = samples.verdicts(samples.make(tmp_path, torch.nn.Linear(16, 3), static))["shapes"]
    assert check.status is CheckStatus.NOT_APPLICABLE
    assert "no dynamic dimension" in check.detail


def test_if_eager_answers_to_no_other_size_the_check_could_not_run(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    only = replace(candidate.reference, probes=candidate.reference.probes[:1])
    assert "eager answers to none of the other sizes" in samples.failing(replace(candidate, reference=only))["shapes"]
