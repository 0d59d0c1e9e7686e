from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.report_page import made_up
from orchestrator.report.causes import causes
from orchestrator.report.html_data import EXHIBITS, SIGNS, document
from orchestrator.report.summary import Report, summarise
from orchestrator.result import Origin, Status
from orchestrator.spec import Plan
from orchestrator.store.ledger import Record
from tests import synthetic


def read(plan: Plan, records: list[Record], report: Report | None = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The document as the page's script reads it, and its cells."""
    report = report or summarise(plan, records)
    data = json.loads(document(report, plan, causes(report.cells), lambda cell: f"log of {cell}"))
    cells = [
        {
            name: data["pool"][value[0]] if isinstance(value, list) else value
            for name, value in zip(data["fields"], row, strict=True)
        }
        for row in data["cells"]
    ]
    return data, cells


def test_every_planned_cell_is_there_with_all_that_the_page_shows() -> None:
    plan, records = synthetic.every_status()
    _, cells = read(plan, records)
    assert [cell["id"] for cell in cells] == [cell.id for cell in plan.cells]
    first = cells[0]
    assert (first["model"], first["exporter"], first["opset"], first["status"], first["fell"]) == (
        "resnet50",
        "dynamo",
        18,
        "passed",
        None,
    )
    assert (first["made_from"], first["size"], first["memory"]) == ("exported", "103 MB", "1.53 GB")
    assert first["checks"][2] == ["parity", "passed", "", 1.2e-06, 3.4e-05, 0.8, None, []]
    assert first["values"] == [
        ["input", "image", "float32", "batch, 3, 224, ?"],
        ["output", "logits", "float32", "batch, 1000"],
    ]
    assert first["path"] == "artifacts/resnet50/float32/dynamo-opset18.onnx"
    assert first["folder"] == "cells/resnet50-dynamo-opset18-float32-cpu"


def test_what_is_equal_is_written_once() -> None:
    data, _ = read(*synthetic.every_status())
    written = [json.dumps(value) for value in data["pool"]]
    assert len(written) == len({*written})


def test_a_cell_of_a_large_run_takes_less_than_two_kilobytes() -> None:
    plan, records = made_up(900)
    report = summarise(plan, records)
    passed = replace(report, cells=tuple(cell for cell in report.cells if cell.status is Status.PASSED))
    assert len(document(passed, plan, [], str)) < 1_700 * len(passed.cells)


def test_a_cell_knows_its_cause_and_the_cause_its_next_step() -> None:
    data, cells = read(*synthetic.every_status())
    crashed = next(cell for cell in cells if cell["status"] == "crashed")
    assert data["next"][crashed["cause"]].startswith("The end of the log says where")
    assert cells[0]["cause"] is None


def test_exhibits_are_few_and_of_each_cause_there_is_one() -> None:
    plan, records = made_up(2_000)
    data, _ = read(plan, records)
    found = causes(summarise(plan, records).cells)
    assert len(data["exhibits"]) == EXHIBITS < sum(len(cause.cells) for cause in found)
    assert {cause.cells[0].id for cause in found} <= data["exhibits"].keys()


def test_an_exhibit_is_the_end_of_the_log_and_the_script() -> None:
    data, _ = read(*synthetic.every_status())
    exhibit = data["exhibits"]["vit_b_16-dynamo-opset20-float32-cpu"]
    assert exhibit["log"] == "log of vit_b_16-dynamo-opset20-float32-cpu"
    compile(exhibit["script"], "repro.py", "exec")
    assert "resnet50-dynamo-opset18-float32-cpu" not in data["exhibits"]


def test_figures_that_are_not_finite_become_null() -> None:
    plan, records = synthetic.every_status()
    report = summarise(plan, records)
    check = replace(report.cells[0].checks[2], measured=math.inf)
    report = replace(report, cells=(replace(report.cells[0], checks=(check,)),))
    assert read(plan, records, report)[1][0]["checks"] == [["parity", "passed", "", None, 3.4e-05, 0.8, None, []]]


@pytest.mark.parametrize(("deliver", "folder"), [("all", True), ("changed", False)])
def test_what_the_cache_knew_has_a_folder_only_where_it_is_delivered(deliver: Any, folder: bool) -> None:
    plan = synthetic.plan(synthetic.unit())
    plan = replace(plan, settings=replace(plan.settings, deliver=deliver))
    _, (cell,) = read(plan, synthetic.ledger(synthetic.result(plan.cells[0].id, origin=Origin.CACHE)))
    assert (cell["folder"] is not None) is folder


def test_swept_keys_are_told_as_they_are_in_the_identifier() -> None:
    plan = synthetic.plan(synthetic.unit(swept=(("exporter.optimize", "false"),)))
    assert read(plan, synthetic.ledger())[1][0]["swept"] == "exporter.optimize=false"


def test_every_status_has_a_sign_of_its_own() -> None:
    assert {*SIGNS} == {*Status}
    assert len({*SIGNS.values()}) == len(SIGNS)
    assert all(len(sign) == 1 for sign in SIGNS.values())
