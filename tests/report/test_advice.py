from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.report import advice
from orchestrator.report.summary import CellReport, summarise, unexpected
from orchestrator.result import CellError, Check, CheckStatus, Stage, Status
from tests import synthetic

CPU = "resnet50-dynamo-opset20-float32-cpu"


def row(status: Status, **changed: object) -> CellReport:
    result = synthetic.result(CPU, status, **changed)
    (cell,) = summarise(synthetic.plan(synthetic.unit()), synthetic.ledger(result)).cells
    return cell


def test_every_cell_that_ends_unexpectedly_has_a_next_step_of_its_kind() -> None:
    steps = {cell.status: advice.next_step(cell) for cell in unexpected(summarise(*synthetic.every_status()))}
    assert len(set(steps.values())) == len(steps) == 6


@pytest.mark.parametrize(
    ("status", "stage", "kind", "says"),
    [
        (Status.EXPORT_FAILED, Stage.BUILD, "untrusted", "trust="),
        (Status.EXPORT_FAILED, Stage.BUILD, "ValueError", "the model's config or its factory"),
        (Status.EXPORT_FAILED, Stage.CAPTURE, "ValueError", "the other exporter"),
        (Status.CRASHED, Stage.EMIT, "log_limit", "limits.log"),
        (Status.CRASHED, Stage.EMIT, "signal", "cluster=inline"),
        (Status.TIMEOUT, Stage.EMIT, "deadline", "limits.seconds"),
        (Status.OOM, Stage.EMIT, "memory", "limits.memory"),
        (Status.INFRA_ERROR, Stage.EMIT, "disk_full", "run again"),
    ],
)
def test_the_next_step_follows_the_error(status: Status, stage: Stage, kind: str, says: str) -> None:
    assert says in advice.next_step(row(status, error=CellError(stage=stage, kind=kind, message="no")))


@pytest.mark.parametrize("name", [*advice.BY_CHECK, "weights"])
def test_the_next_step_follows_the_first_failed_check(name: str) -> None:
    failed = [Check(id=each, status=CheckStatus.FAILED, detail="no") for each in (name, "parity")]
    passed = Check(id="interface", status=CheckStatus.PASSED, detail="")
    step = advice.next_step(row(Status.CHECK_FAILED, checks=(passed, *failed)))
    assert step == advice.BY_CHECK.get(name, "Run repro.py and look at what the check names.")


def test_the_next_step_of_a_bfloat16_cell_on_the_cpu_is_the_other_runtime() -> None:
    cell = replace(row(Status.CHECK_FAILED), dtype="bfloat16")
    assert "target=reference" in advice.next_step(cell)
    assert "target=reference" not in advice.next_step(replace(cell, target="reference"))


def test_the_next_step_where_the_standard_has_no_bfloat16_yet_is_a_later_opset() -> None:
    refused = Check(id="structure", status=CheckStatus.FAILED, detail="no")
    cell = replace(row(Status.CHECK_FAILED, checks=(refused,)), dtype="bfloat16")
    assert "opset 22" in advice.next_step(cell)
    assert "opset 22" not in advice.next_step(replace(cell, opset=22))


@pytest.mark.parametrize("cause", ["branches", "mode"])
def test_a_check_that_knows_the_reason_gives_the_next_step_before_one_that_sees_the_numbers(cause: str) -> None:
    failed = [Check(id=each, status=CheckStatus.FAILED, detail="no") for each in ("parity", cause)]
    assert advice.next_step(row(Status.CHECK_FAILED, checks=tuple(failed))) == advice.BY_CHECK[cause]


def test_what_is_left_in_training_mode_has_a_next_step_of_its_own() -> None:
    check = Check(id="structure", status=CheckStatus.FAILED, detail="drop is a Dropout in training mode")
    cell = row(Status.CHECK_FAILED, reason=f"structure: {check.detail}", checks=(check,))
    assert "training=self.training" in advice.next_step(cell)


@pytest.mark.parametrize("detail", ["dimension steps is baked in as 3", "dimension batch is narrowed to 0 to 3"])
def test_a_size_that_the_interface_shows_as_frozen_has_the_next_step_of_a_frozen_size(detail: str) -> None:
    check = Check(id="interface", status=CheckStatus.FAILED, detail=detail)
    assert advice.next_step(row(Status.CHECK_FAILED, checks=(check,))) == advice.BY_CHECK["shapes"]


def test_a_check_that_only_saw_the_artifact_fail_knows_no_reason() -> None:
    details = {"structure": "Inferred shape and existing shape differ", "mode": "ONNX Runtime fails on it: no"}
    checks = tuple(Check(id=each, status=CheckStatus.FAILED, detail=detail) for each, detail in details.items())
    assert advice.next_step(row(Status.CHECK_FAILED, checks=checks)) == advice.BY_CHECK["structure"]
