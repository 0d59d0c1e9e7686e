from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.report.summary import exit_code, summarise, unexpected
from orchestrator.result import Check, CheckStatus, Origin, Status
from orchestrator.store.ledger import RunStatus
from tests import synthetic

CPU = "resnet50-dynamo-opset20-float32-cpu"
CUDA = "resnet50-dynamo-opset20-float32-cuda"
PATH = "artifacts/resnet50/float32/dynamo-opset20.onnx"


def test_every_planned_cell_has_a_row_in_plan_order() -> None:
    plan, records = synthetic.every_status()
    records[1:-1] = reversed(records[1:-1])
    report = summarise(plan, records)
    assert [cell.id for cell in report.cells] == [cell.id for cell in plan.cells]
    assert report.counts == {status: sum(cell.status is status for cell in report.cells) for status in Status}
    assert min(report.counts.values()) == 1
    assert sum(report.counts.values()) == len(plan.cells)


def test_the_row_of_a_passed_cell() -> None:
    unit = synthetic.unit()
    result = synthetic.result(CPU, origin=Origin.CACHE, attempts=2, findings=(synthetic.warning(),))
    (row,) = summarise(synthetic.plan(unit), synthetic.ledger(result)).cells
    assert (row.model, row.exporter, row.opset, row.dtype, row.target) == ("resnet50", "dynamo", 20, "float32", "cpu")
    assert (row.opset_actual, row.origin, row.attempts, row.expected) == (20, Origin.CACHE, 2, True)
    assert row.artifact
    assert (row.artifact.path, row.artifact.sha256) == (PATH, synthetic.graph().sha256)
    assert row.artifact.bytes == synthetic.graph().bytes + synthetic.weights().bytes
    assert row.findings == (synthetic.warning(),)


def test_an_opset_that_was_not_honoured_shows_both() -> None:
    plan, records = synthetic.every_status()
    (row,) = (cell for cell in summarise(plan, records).cells if cell.model == "minilm")
    assert (row.opset, row.opset_actual) == (17, 18)


def test_what_is_expected_and_what_is_not() -> None:
    report = summarise(*synthetic.every_status())
    assert [cell.model for cell in unexpected(report)] == [
        "gpt2",
        "minilm",
        "segfault",
        "sleeper",
        "glutton",
        "filler",
        "vit_b_16",
    ]
    assert exit_code(report) == 1
    assert exit_code(replace(report, cells=tuple(cell for cell in report.cells if cell.expected))) == 0


def test_the_day_of_the_run_decides_on_expiry_not_the_day_of_reading() -> None:
    plan, records = synthetic.every_status()
    (gpt2,) = (cell for cell in summarise(plan, records).cells if cell.model == "gpt2")
    assert "known_issue_expired" in {finding.kind for finding in gpt2.findings}


def test_a_cell_that_the_plan_skips_needs_no_record() -> None:
    plan = synthetic.plan(synthetic.unit(skip="no node has a CUDA device"))
    report = summarise(plan, synthetic.ledger())
    (row,) = report.cells
    assert (row.status, row.reason, row.expected, row.attempts) == (Status.SKIPPED, "no node has a CUDA device", True, 0)
    assert exit_code(report) == 0


@pytest.mark.parametrize(
    ("status", "reason"),
    [(RunStatus.INTERRUPTED, "the run ended before it was done"), (RunStatus.RUNNING, "it has no outcome yet")],
)
def test_a_cell_that_was_never_reached_is_not_as_expected(status: RunStatus, reason: str) -> None:
    records = synthetic.ledger(end=synthetic.ended(status, 130))
    report = summarise(synthetic.plan(synthetic.unit()), records[:-1] if status is RunStatus.RUNNING else records)
    (row,) = report.cells
    assert (row.status, row.reason, row.expected) == (Status.SKIPPED, reason, False)
    assert report.run.status is status


def test_a_cell_that_is_on_record_twice_counts_as_it_ended_last() -> None:
    records = synthetic.ledger(synthetic.result(CPU, Status.INFRA_ERROR), synthetic.result(CPU))
    (row,) = summarise(synthetic.plan(synthetic.unit()), records).cells
    assert row.status is Status.PASSED


def test_an_error_points_to_the_log_if_there_is_one() -> None:
    plan = synthetic.plan(synthetic.unit())
    log = replace(synthetic.graph(), name="export.log")
    for attachments, path in [((), None), ((log,), f"cells/{CPU}/export.log")]:
        (row,) = summarise(plan, synthetic.ledger(synthetic.result(CPU, Status.CRASHED, attachments=attachments))).cells
        assert row.error
        assert (row.error.kind, row.error.log) == ("signal", path)


def test_the_path_of_an_artifact_is_where_it_was_put() -> None:
    plan = synthetic.plan(synthetic.unit(targets=(synthetic.CPU, synthetic.CUDA)))
    wrong = (Check(id="structure", status=CheckStatus.FAILED, detail="no"),)
    other = synthetic.artifact(synthetic.graph("c"))

    def paths(*results: object) -> list[str | None]:
        report = summarise(plan, synthetic.ledger(*results))  # type: ignore[arg-type]
        return [cell.artifact.path for cell in report.cells if cell.artifact]

    passed = synthetic.result(CPU)
    assert paths(passed, synthetic.result(CUDA, Status.SKIPPED)) == [PATH]
    assert paths(passed, synthetic.result(CUDA)) == [PATH, PATH]
    assert paths(passed, synthetic.result(CUDA, Status.CHECK_FAILED)) == [PATH, f"cells/{CUDA}/rejected.onnx"]
    assert paths(passed, synthetic.result(CUDA, Status.CHECK_FAILED, checks=wrong)) == [None, f"cells/{CUDA}/rejected.onnx"]
    assert paths(passed, synthetic.result(CUDA, artifact=other)) == [PATH, None]
