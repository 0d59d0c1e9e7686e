from __future__ import annotations

from pathlib import Path

from orchestrator import layout
from orchestrator.report import json, zoo
from orchestrator.report.summary import summarise
from orchestrator.result import Status
from tests import synthetic
from tests.declared import NAMES

PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"
CPU = "resnet50-dynamo-opset20-float32-cpu"


def rows(page: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")][2:]


def test_each_cell_is_a_row_and_the_last_run_counts(tmp_path: Path) -> None:
    plan = synthetic.plan(synthetic.unit())
    for number, status in enumerate((Status.CHECK_FAILED, Status.PASSED)):
        report = summarise(plan, synthetic.ledger(synthetic.result(CPU, status)))
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / layout.REPORT_JSON).write_bytes(json.render(report))
    page = zoo.render([zoo.read(tmp_path / "0"), zoo.read(tmp_path / "1")])
    assert rows(page) == [["resnet50", "dynamo", "20", "passed", "1.2e-06 of 3.4e-05", "103 MB", "103"]]
    assert "Made with torch 2.15.0" in page


def test_known_issues_are_told_once_with_a_cell() -> None:
    page = zoo.render([summarise(*synthetic.every_status())])
    assert page.count("## Known issues") == 1
    assert len({tuple(row[:3]) for row in rows(page)}) == len(rows(page))


def test_every_declared_model_has_passed_or_known_rows_in_the_page_of_the_project() -> None:
    found = {(model, exporter): status for model, exporter, opset, status, *_ in rows(PAGE.read_text("utf-8")) if opset == "20"}
    assert {model for model, _ in found} == {*NAMES}
    for name in NAMES:
        assert found[name, "dynamo"] in ("passed", "export_failed (known)", "check_failed (known)")
        assert "passed" in (found[name, "torchscript"], found.get((name, "torchscript_script")))
