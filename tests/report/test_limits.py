from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.report import limits
from orchestrator.report.summary import Report, summarise
from orchestrator.result import CellError, Check, CheckStatus, Stage, Status
from tests import synthetic

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
CPU = "resnet50-dynamo-opset20-float32-cpu"
FAILED = (
    Check(id="interface", status=CheckStatus.PASSED, detail="as declared"),
    Check(id="branches", status=CheckStatus.FAILED, detail="zoo/limits.py:20: `if x:` is True | False"),
    Check(id="parity", status=CheckStatus.ERROR, detail="not run"),
)


def table(page: str) -> dict[tuple[str, str], str]:
    """Outcome by model and exporter."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    (_, *exporters), _, *rows = rows
    return {
        (row[0][1:].partition("]")[0], exporter): said
        for row in rows
        for exporter, said in zip(exporters, row[1:], strict=True)
    }


def report(status: Status, **changed: object) -> Report:
    made = summarise(synthetic.plan(synthetic.unit()), synthetic.ledger(synthetic.result(CPU, status, **changed)))
    (cell,) = made.cells
    return replace(made, cells=(replace(cell, model="tensor_if"),))


ERROR = CellError(stage=Stage.CAPTURE, kind="GuardError", message="cannot guard")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (report(Status.PASSED), "right"),
        (report(Status.CHECK_FAILED, reason="branches: no", checks=FAILED), "wrong: branches, parity"),
        (report(Status.EXPORT_FAILED, reason="capture: cannot guard", error=ERROR), "refused"),
        (report(Status.TIMEOUT, error=ERROR), "timeout"),
    ],
    ids=["right", "wrong", "refused", "timeout"],
)
def test_a_cell_is_right_or_wrong_by_which_checks_or_refused(made: Report, said: str) -> None:
    assert table(limits.render([made]))["tensor_if", "dynamo"] == said


def test_a_section_shows_the_code_what_was_said_and_what_to_write_instead() -> None:
    page = limits.render([report(Status.CHECK_FAILED, reason="branches: zoo/limits.py:20: frozen", checks=FAILED)])
    assert "    def forward(self, signal: Tensor) -> Tensor:\n        if bool(signal.abs().mean() > 0.25):\n" in page
    assert "Instead: Write it with `torch.where`" in page
    assert "      branches: zoo/limits.py:20: frozen\n      next   A trace keeps one side" in page
    assert "Made with torch 2.15.0" in page


def test_the_last_run_counts() -> None:
    reports = [report(Status.CHECK_FAILED, reason="branches: no", checks=FAILED), report(Status.PASSED)]
    assert table(limits.render(reports))["tensor_if", "dynamo"] == "right"
