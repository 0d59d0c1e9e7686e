from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from exporters.base import TensorSpec
from orchestrator.result import CheckStatus, Finding
from orchestrator.spec import CaseSpec, ModelSpec
from orchestrator.verify import verifier
from orchestrator.verify.base import Candidate
from tests.verify import samples

ONE = replace(
    samples.PAIR,
    dims={"batch": samples.PAIR.dims["batch"]},
    inputs=(TensorSpec(name="signal", shape=("batch", 8), dtype="float32", generator="uniform", range=(-1, 1)),),
    outputs=samples.PAIR.outputs[:1],
    config_path="conf/model/one.yaml",
)


class Deciding(torch.nn.Module):
    """Doubles its input if a condition holds."""

    def __init__(self, condition: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.condition = condition

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        if self.condition(signal):
            return signal * 2
        return signal - 1


def loud(signal: torch.Tensor) -> object:
    return bool(signal.abs().mean() > 0.25)


def never(signal: torch.Tensor) -> object:
    return bool(signal.abs().mean() < 0)


def judged(candidate: Candidate) -> tuple[CheckStatus, str, list[Finding]]:
    checks, findings = verifier.verify(candidate, threads=1)
    (check,) = (check for check in checks if check.id == "branches")
    return check.status, check.detail, [finding for finding in findings if finding.kind in ("unproved_branch", "guarded_input")]


def made(folder: Path, condition: Callable[[torch.Tensor], object], model: ModelSpec = ONE, exporter: str = "") -> Candidate:
    candidate = samples.make(folder, Deciding(condition), model)
    return replace(candidate, exporter=exporter or candidate.exporter)


def test_a_model_that_asks_for_no_value_has_nothing_to_freeze(tmp_path: Path) -> None:
    status, detail, findings = judged(samples.pair(tmp_path))
    assert (status, findings) == (CheckStatus.PASSED, [])
    assert "no data-dependent branch on these 4 probes" in detail


def test_a_frozen_branch_is_found_without_a_hint_and_its_line_is_named(tmp_path: Path) -> None:
    status, detail, _ = judged(made(tmp_path, loud))
    assert status is CheckStatus.FAILED
    line = loud.__code__.co_firstlineno + 1
    assert (
        f"test_branches.py:{line} in loud: `return bool(signal.abs().mean() > 0.25)` is True on example and False on" in detail
    )
    assert "with signal x 0.1, where the artifact is wrong: scores on example with signal x 0.1: error" in detail


def test_a_branch_that_is_frozen_on_the_other_side_than_the_examples_is_found(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "frozen").mkdir()
    model, frozen = made(tmp_path / "model", loud), made(tmp_path / "frozen", never)
    status, detail, _ = judged(replace(frozen, reference=model.reference, module=model.module))
    assert status is CheckStatus.FAILED
    assert "is False on example with signal x 0.1 and True on example, where the artifact is wrong" in detail


def test_a_branch_that_only_other_sizes_turn_is_found(tmp_path: Path) -> None:
    status, detail, _ = judged(made(tmp_path, lambda signal: bool((signal * 0 + signal.shape[0]).mean() > 2.5)))
    assert status is CheckStatus.FAILED
    assert "is False on example and True on batch=3, where the artifact is wrong" in detail


def test_both_sides_right_is_proved(tmp_path: Path) -> None:
    class Same(torch.nn.Module):
        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            return signal * 2 if loud(signal) else signal + signal

    status, detail, findings = judged(samples.make(tmp_path, Same(), ONE))
    assert (status, findings) == (CheckStatus.PASSED, [])
    assert "1 of the 1 lines that ask for a value of an input decide both ways" in detail


@pytest.mark.parametrize(
    ("exporter", "status"), [("torchscript", "failed"), ("file", "failed"), ("torchscript_script", "passed")]
)
def test_a_branch_that_nothing_turns_is_not_proved(tmp_path: Path, exporter: str, status: str) -> None:
    found, detail, findings = judged(made(tmp_path, never, exporter=exporter))
    assert found == status
    (finding,) = findings
    assert finding.kind == "unproved_branch"
    assert (finding.source or "").endswith(f"test_branches.py:{never.__code__.co_firstlineno + 1}")
    assert "it was False on all 3 probes and 24 inputs that were tried; add a case to conf/model/one.yaml" in finding.message
    assert ("branch at" in detail) == (status == "failed")


def test_a_case_that_reaches_the_other_side_is_used(tmp_path: Path) -> None:
    def at_home(signal: torch.Tensor) -> object:
        return bool((signal.abs().mean() - 0.125).abs() < 0.01)

    case = CaseSpec(name="home", inputs=(replace(ONE.inputs[0], range=(0.125, 0.125)),))
    status, detail, _ = judged(made(tmp_path, at_home, replace(ONE, cases=(case,))))
    assert status is CheckStatus.FAILED
    assert "is False on example and True on case home, where the artifact is wrong" in detail


def test_a_line_on_whose_other_side_eager_raises_is_told_and_fails_nothing(tmp_path: Path) -> None:
    class Guarded(torch.nn.Module):
        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            if bool(signal.abs().max() > 5):
                raise ValueError("too loud")
            return signal * 2

    status, _, findings = judged(samples.make(tmp_path, Guarded(), ONE))
    assert status is CheckStatus.PASSED
    assert [finding.kind for finding in findings] == ["guarded_input"]
    assert "eager raises on the other side" in findings[0].message


def test_a_while_is_told_by_its_rounds(tmp_path: Path) -> None:
    class Halving(torch.nn.Module):
        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            while bool(signal.abs().max() > 0.2):
                signal = signal / 2
            return signal

    status, detail, _ = judged(samples.make(tmp_path, Halving(), ONE))
    assert status is CheckStatus.FAILED
    assert "is True True True False on example and False on example with signal x 0.1" in detail
