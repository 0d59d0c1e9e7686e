from __future__ import annotations

import json
from dataclasses import replace

import pytest

from orchestrator.report import json as report_json
from orchestrator.report import judgement
from orchestrator.report.summary import CellReport
from orchestrator.result import Check, CheckStatus, Finding, Status
from orchestrator.spec import GivenArtifact
from tests import synthetic

jsonschema = pytest.importorskip("jsonschema")
UNIT = synthetic.unit()
(CELL,) = UNIT.cells
GIVEN = GivenArtifact(graph="/somewhere/model.onnx")


def row(status: Status = Status.PASSED, given: GivenArtifact = GIVEN, **changed: object) -> CellReport:
    return judgement.row(UNIT, CELL, synthetic.result(CELL.id, status, **changed), given, "model.onnx")


@pytest.mark.parametrize("status", [Status.PASSED, Status.CHECK_FAILED, Status.CRASHED, Status.TIMEOUT, Status.OOM])
def test_a_row_is_a_cell_of_the_report_and_expected_if_it_passed(status: Status) -> None:
    found = json.loads(judgement.as_json(row(status)))
    jsonschema.validate(found, {"$ref": "#/$defs/cell", "$defs": report_json.schema()["$defs"]})
    assert (found["status"], found["expected"]) == (status, status is Status.PASSED)


def test_a_known_issue_of_the_export_excuses_nothing() -> None:
    issues = [synthetic.KnownIssue(cells="*", status=Status.CHECK_FAILED, reason="known")]
    unit = synthetic.unit(known_issues=issues)
    result = synthetic.result(CELL.id, Status.CHECK_FAILED)
    assert not judgement.row(unit, CELL, result, GIVEN, "model.onnx").expected


def test_the_opset_is_null_where_it_was_not_asked_for() -> None:
    assert row().opset == 20
    assert (row(given=replace(GIVEN, compare_opset=False)).opset, row().opset_actual) == (None, 20)


def test_several_rows_are_an_array() -> None:
    assert [found["status"] for found in json.loads(judgement.as_json([row(), row(Status.CRASHED)]))] == ["passed", "crashed"]


def test_a_line_per_check_and_finding() -> None:
    checks = (
        Check(id="delivery", status=CheckStatus.PASSED, detail="2 files"),
        Check(id="parity", status=CheckStatus.FAILED, detail="off"),
        Check(id="ranges", status=CheckStatus.NOT_APPLICABLE, detail="not known"),
    )
    found = row(Status.CHECK_FAILED, checks=checks, findings=(Finding(kind="input_order", message="other order"),))
    assert [" ".join(line.split()) for line in judgement.lines(found, "model.onnx")] == [
        "check_failed model.onnx as resnet50, float32, cpu",
        "+ delivery passed 2 files",
        "x parity failed off",
        "ranges not applicable not known",
        "! input_order: other order",
    ]


def test_a_death_is_told_by_its_reason() -> None:
    assert [*judgement.lines(row(Status.CRASHED), "model.onnx")][1] == "  x emit: the process was killed by SIGSEGV"


def test_nothing_that_a_file_says_reaches_the_terminal_as_it_is() -> None:
    check = Check(id="structure", status=CheckStatus.FAILED, detail="node \x1b[31mred\nline")
    text = "\n".join(judgement.lines(row(Status.CHECK_FAILED, checks=(check,)), "odd\x1b.onnx"))
    assert "\x1b" not in text
    assert text.count("\n") == 1
