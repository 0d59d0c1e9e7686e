"""What `verify` says of artifacts made elsewhere: for machines the shape of a cell in report.json, for people a line per check.

Known issues are those of exports and excuse nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from orchestrator.report import wording
from orchestrator.report.summary import CellReport, artifact_report, error_report
from orchestrator.result import CellResult, CheckStatus, Status
from orchestrator.spec import Cell, GivenArtifact, Unit

MARKS = {CheckStatus.PASSED: "+", CheckStatus.NOT_APPLICABLE: " ", CheckStatus.FINDING: "!"}
"""At the beginning of a check's line; all others are `x`."""


def row(unit: Unit, cell: Cell, result: CellResult, given: GivenArtifact, path: str) -> CellReport:
    """The outcome of one artifact.

    Args:
        unit: That it was judged in.
        cell: Of the unit.
        result: What happened.
        given: The artifact.
        path: Of the graph, as a reader knows it.
    """
    return CellReport(
        id=cell.id,
        model=unit.model.name,
        exporter=unit.exporter.name,
        opset=cell.opset if given.compare_opset else None,
        opset_actual=result.artifact.opset if result.artifact else None,
        dtype=unit.dtype,
        target=cell.target.name,
        status=result.status,
        origin=result.origin,
        expected=result.status is Status.PASSED,
        reason=result.reason,
        attempts=result.attempts,
        durations=result.durations,
        peak_memory=result.peak_memory,
        artifact=artifact_report(result.artifact, path) if result.artifact else None,
        checks=result.checks,
        findings=result.findings,
        error=error_report(result.error, log=None),
    )


def as_json(rows: CellReport | Sequence[CellReport]) -> bytes:
    """One cell of report.json, or several, indented."""
    return msgspec.json.format(msgspec.json.encode(rows)) + b"\n"


def lines(report: CellReport, path: str) -> Iterator[str]:
    """The outcome for a person: the verdict, then a line per check and finding."""
    yield wording.visible(f"{report.status}  {path}  as {report.model}, {report.dtype}, {report.target}")
    for check in report.checks:
        word = check.status.replace("_", " ")
        yield wording.visible(f"  {MARKS.get(check.status, 'x')} {check.id:<12} {word:<15} {check.detail}")
    for finding in report.findings:
        yield wording.visible(f"  ! {finding.kind}: {finding.message}")
    if not report.checks:
        yield wording.visible(f"  x {report.reason}")
