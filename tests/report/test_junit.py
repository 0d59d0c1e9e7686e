from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from orchestrator.report import junit
from orchestrator.report.summary import Report, summarise
from orchestrator.result import Origin, Status
from tests import synthetic


def rendered(report: Report) -> ET.Element:
    return ET.fromstring(junit.render(report))  # noqa: S314


def cases(report: Report) -> dict[str, ET.Element]:
    return {case.get("name", ""): case for case in rendered(report).iter("testcase")}


def test_every_cell_is_a_case_and_what_was_not_expected_is_no_success() -> None:
    report = summarise(*synthetic.every_status())
    found = cases(report)
    assert [*found] == [cell.id for cell in sorted(report.cells, key=lambda cell: cell.model)]
    for cell in report.cells:
        bad = {child.tag for child in found[cell.id]} & {"failure", "error"}
        assert bool(bad) is not cell.expected, cell.id


def test_the_totals_are_those_of_the_cases() -> None:
    root = rendered(summarise(*synthetic.every_status()))
    counted = {tag: len([*root.iter(tag)]) for tag in ("failure", "error", "skipped")}
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == (
        "14",
        *(str(counted[tag]) for tag in ("failure", "error", "skipped")),
    )
    assert counted == {"failure": 2, "error": 5, "skipped": 3}


def test_a_failed_case_has_cause_next_step_and_files() -> None:
    found = cases(summarise(*synthetic.every_status()))
    failure = found["minilm-dynamo-opset17-float32-cpu"].find("failure")
    assert failure is not None
    assert failure.get("message") == "structure: the file is opset 18, asked for was 17"
    assert "next: Ask for an opset that this exporter reaches" in (failure.text or "")
    assert "files: cells/minilm-dynamo-opset17-float32-cpu" in (failure.text or "")


def test_a_known_issue_and_a_cell_without_a_device_are_skipped_with_the_reason() -> None:
    found = cases(summarise(*synthetic.every_status()))
    known, device = found["early_exit-torchscript-opset20-float32-cpu"], found["mobilenet_v3_small-dynamo-opset20-float32-cuda"]
    messages = [skipped.get("message") for case in (known, device) for skipped in case.iter("skipped")]
    assert messages == ["known issue: tracing cannot branch on values (owner: zoo)", "no node has a CUDA device"]


def test_what_is_worse_than_accepted_or_gone_is_a_failure() -> None:
    found = cases(summarise(*synthetic.worse_than_accepted()))
    failures = {name: [each.get("type") for each in case.iter("failure")] for name, case in found.items()}
    assert failures == {
        "resnet50-dynamo-opset20-float32-cpu": ["passed"],
        "lstm-dynamo-opset20-float32-cpu": [],
        "gpt2-dynamo-opset20-float32-cpu": ["gone"],
    }


def test_what_was_not_done_took_no_time_and_odd_characters_are_legal_xml() -> None:
    report = summarise(*synthetic.every_status())
    cell = replace(report.cells[0], origin=Origin.CACHE)
    bad = replace(report.cells[1], status=Status.CRASHED, expected=False, reason="\x1b[2J\x00 <&>]]> \ud800 “ü”")
    found = cases(replace(report, cells=(cell, bad)))
    assert float(found[cell.id].get("time", "")) == 0
    (error,) = found[bad.id].iter("error")
    assert error.get("message") == "\\x1b[2J\\x00 <&>]]> \\ud800 “ü”"
