"""junit.xml: the report as test results, a suite per model and a case per cell, as GitLab and the actions of GitHub show them.

A known issue is a skipped case with the reason, so that a green run is green there too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite
from junitparser.junitparser import FinalResult

from orchestrator import layout
from orchestrator.report import advice, wording
from orchestrator.report.summary import CellReport, Report, gone
from orchestrator.result import Origin, Status


def render(report: Report) -> bytes:
    """The report as JUnit XML."""
    document = JUnitXml(report.run.run_id)
    by_model = itertools.groupby(sorted(report.cells, key=lambda cell: cell.model), key=lambda cell: cell.model)
    for model, cells in by_model:
        document.add_testsuite(_suite(report, model, map(_case, cells)))
    if missing := [*_gone(report)]:
        document.add_testsuite(_suite(report, "baseline", missing))
    document.update_statistics()  # type: ignore[no-untyped-call]
    text: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + text + b"\n"


def _suite(report: Report, name: str, cases: Iterable[TestCase]) -> TestSuite:
    suite = TestSuite(name)
    suite.timestamp = report.run.started
    for case in cases:
        suite.add_testcase(case)
    return suite


def _case(cell: CellReport) -> TestCase:
    took = cell.durations.get("total", 0.0) if cell.origin is Origin.RAN else 0.0
    case = TestCase(cell.id, f"{cell.model}.{cell.exporter}", took)
    if result := _result(cell):
        case.result = [result]
    return case


def _result(cell: CellReport) -> FinalResult | None:
    """Why it did not pass; None if it did."""
    if cell.expected:
        return Skipped(_one_line(cell)) if cell.status is not Status.PASSED else None
    kind = Failure if cell.status in (Status.PASSED, Status.CHECK_FAILED) else Error
    result = kind(_one_line(cell), cell.status)
    lines = [*wording.problems(cell), f"next: {advice.next_step(cell)}", f"files: {layout.cell_folder(cell.id)}"]
    result.text = "\n".join(map(wording.visible, lines))
    return result


def _one_line(cell: CellReport) -> str:
    known = next((finding.message for finding in cell.findings if finding.kind == "known_issue"), None)
    text = f"known issue: {known}" if known else next(iter(wording.problems(cell)), cell.status)
    return wording.visible(text)


def _gone(report: Report) -> Iterator[TestCase]:
    for regression in gone(report):
        case = TestCase(regression.cell, "baseline", 0.0)
        case.result = [Failure(wording.visible(regression.message), regression.rule)]
        yield case
