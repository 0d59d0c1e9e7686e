"""The report of a run as a value: a pure function of its plan and its ledger.

Field order is the order in report.json; `report.schema.json` describes the same fields for other readers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from orchestrator import layout
from orchestrator.errors import EXIT_PASSED, EXIT_UNEXPECTED
from orchestrator.report.agreement import Agreement, agreements
from orchestrator.report.expected import issues, judge
from orchestrator.result import (
    SCHEMA_VERSION,
    Artifact,
    CellError,
    CellFinished,
    CellResult,
    Check,
    Finding,
    Origin,
    Regression,
    Speed,
    Stage,
    Status,
    ValueInfo,
)
from orchestrator.spec import Cell, Plan, Unit
from orchestrator.store.ledger import (
    BaselineCompared,
    CellMeasured,
    Record,
    RunFinished,
    RunResumed,
    RunStarted,
    RunStatus,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """The run as a whole."""

    run_id: str
    started: str
    """ISO 8601, UTC."""
    finished: str | None
    """None as long as no end is on record."""
    status: RunStatus
    exit_code: int | None
    command: tuple[str, ...]
    versions: Mapping[str, str]
    host: Mapping[str, str | int | float | None]
    changes: tuple[str, ...] = ()
    """What was not as at the beginning when the run was resumed, a line each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactReport:
    """A cell's ONNX graph."""

    path: str | None
    """Relative to the run folder; None if it passed and another target's cell condemned or replaced it."""
    sha256: str
    """Of the graph; its external data are named by their own digest."""
    bytes: int
    """Of the graph and its external data."""
    op_counts: Mapping[str, int]
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    made_from: str
    """exported, fed_back or stamped: see exporters.base.Emission."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorReport:
    """Why a cell has no verdict on an artifact."""

    stage: Stage
    kind: str
    message: str
    log: str | None
    """Path of the cell's export.log, relative to the run folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellReport:
    """One cell: every planned one has a row."""

    id: str
    model: str
    exporter: str
    opset: int | None
    """As asked for; None if a file made elsewhere is judged whatever its opset."""
    opset_actual: int | None
    """Of the file; None if there is none."""
    dtype: str
    target: str
    status: Status
    origin: Origin
    expected: bool
    reason: str
    """One line for a person; empty if passed."""
    attempts: int
    durations: Mapping[str, float]
    """Seconds per stage, and `total`."""
    peak_memory: int | None
    """Bytes, of all processes of the unit while it worked for the cell; None without isolation."""
    artifact: ArtifactReport | None
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    error: ErrorReport | None
    export_key: str | None = None
    """Digest of all that decides the artifact's bytes."""
    verify_key: str | None = None
    """Digest of all that decides the verdict."""
    why_exported: str | None = None
    """First time, or what has changed since the last time; None if it was not exported."""
    regressions: tuple[Regression, ...] = ()
    """What is worse than what was accepted of the cell."""
    speed: Speed | None = None
    """Time and memory beside eager; None unless target.latency asked for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineReport:
    """How the run compares with what was accepted."""

    compared: int
    """Cells that have an accepted outcome."""
    gone: tuple[Regression, ...]
    """Accepted cells that the run does not have; what else is worse stands with its cell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All of report.json."""

    schema_version: int
    run: RunReport
    counts: Mapping[Status, int]
    """Cells per status, zeros included."""
    cells: tuple[CellReport, ...]
    """In plan order."""
    baseline: BaselineReport | None = None
    """None if nothing was accepted before the run, or it did not reach its end."""
    agreements: tuple[Agreement, ...] = ()
    """Of the exporters with each other."""


def summarise(plan: Plan, records: Sequence[Record]) -> Report:
    """Make the report of a run, finished or not.

    Args:
        plan: What was to be done.
        records: The ledger; its first record is a RunStarted.
    """
    run = run_report(records)
    results = outcomes(records)
    delivered = delivered_graphs(plan, results.values())
    measured = {record.cell: record for record in records if isinstance(record, CellMeasured)}
    rows = (
        _with_speed(_row(plan, unit, cell, results, delivered, run), measured.get(cell.id))
        for unit in plan.units
        for cell in unit.cells
    )
    compared = next((record for record in records if isinstance(record, BaselineCompared)), None)
    worse = _by_cell(compared.regressions if compared else ())
    cells = tuple(replace(row, expected=False, regressions=worse[row.id]) if row.id in worse else row for row in rows)
    counts = {status: sum(cell.status is status for cell in cells) for status in Status}
    return Report(
        schema_version=SCHEMA_VERSION,
        run=run,
        counts=counts,
        cells=cells,
        baseline=_baseline(compared, {c.id for c in cells}),
        agreements=agreements(plan, results),
    )


def outcomes(records: Sequence[Record]) -> dict[str, CellResult]:
    """The outcome of each cell that has one, in the order of the ledger; those from before a resume say so."""
    found: dict[str, CellResult] = {}
    for record in records:
        if isinstance(record, CellFinished):
            found.pop(record.result.cell, None)
            found[record.result.cell] = record.result
        elif isinstance(record, RunResumed):
            found = {cell: resumed(result) for cell, result in found.items()}
    return found


def run_report(records: Sequence[Record]) -> RunReport:
    """The run as a whole; the first record of its ledger is a RunStarted."""
    started = next(record for record in records if isinstance(record, RunStarted))
    resumed = [record for record in records if isinstance(record, RunResumed)]
    end = next((record for record in reversed(records) if isinstance(record, RunFinished | RunResumed)), None)
    end = end if isinstance(end, RunFinished) else None
    return RunReport(
        run_id=started.run_id,
        started=started.time,
        finished=end.time if end else None,
        status=end.status if end else RunStatus.RUNNING,
        exit_code=end.exit_code if end else None,
        command=started.command,
        versions=started.versions,
        host=started.host,
        changes=tuple(dict.fromkeys(change for record in resumed for change in record.changes)),
    )


def resumed(result: CellResult) -> CellResult:
    """An outcome from before a resume; what came from the cache still does, and is delivered or not as that."""
    return replace(result, origin=Origin.RESUMED) if result.origin is Origin.RAN else result


def artifact_report(artifact: Artifact, path: str | None) -> ArtifactReport:
    """A graph as reports show it, with the place where it is."""
    return ArtifactReport(
        path=path,
        sha256=artifact.files[0].sha256,
        bytes=artifact.bytes,
        op_counts=artifact.op_counts,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        made_from=artifact.made_from,
    )


def error_report(error: CellError | None, log: str | None) -> ErrorReport | None:
    """An error as reports show it, with the place of the log."""
    if error is None:
        return None
    return ErrorReport(stage=error.stage, kind=error.kind, message=error.message, log=log)


def delivered_graphs(plan: Plan, results: Iterable[CellResult]) -> dict[PurePosixPath, str]:
    """The digest of the graph that is delivered under each path, for those that get one.

    Args:
        plan: Of the run.
        results: In the order of the ledger, which decides, as it did in the run.
    """
    paths = layout.graph_paths(plan)
    votes: dict[PurePosixPath, list[layout.Vote]] = defaultdict(list)
    for result in results:
        if (vote := layout.vote(result)) and layout.delivers(plan.settings, result):
            votes[paths[result.cell]].append(vote)
    return {path: graph for path, cast in votes.items() if (graph := layout.elected(cast))}


def unexpected(report: Report) -> list[CellReport]:
    """The cells that did not end as expected."""
    return [cell for cell in report.cells if not cell.expected]


def exit_code(report: Report) -> int:
    """Exit code of a run that reached its end: 0 if every cell ended as expected and none is gone, else 1."""
    return EXIT_UNEXPECTED if unexpected(report) or gone(report) else EXIT_PASSED


def gone(report: Report) -> tuple[Regression, ...]:
    """The accepted cells that the run does not have."""
    return report.baseline.gone if report.baseline else ()


def _row(
    plan: Plan,
    unit: Unit,
    cell: Cell,
    results: Mapping[str, CellResult],
    delivered: Mapping[PurePosixPath, str],
    run: RunReport,
) -> CellReport:
    result = results.get(cell.id)
    outcome = result or _absent(cell, run.status)
    verdict = judge(cell.id, outcome.status, issues(plan, unit), today=run.started[:10])
    shown = layout.shows(plan.settings, outcome.origin)
    return CellReport(
        id=cell.id,
        model=unit.model.name,
        exporter=unit.exporter.name,
        opset=cell.opset,
        opset_actual=outcome.artifact.opset if outcome.artifact else None,
        dtype=unit.dtype,
        target=cell.target.name,
        status=outcome.status,
        origin=outcome.origin,
        expected=verdict.expected and (result is not None or cell.skip is not None),
        reason=outcome.reason,
        attempts=outcome.attempts,
        durations=outcome.durations,
        peak_memory=outcome.peak_memory,
        artifact=_artifact(unit, cell, outcome, delivered) if shown else _in_the_store(outcome),
        checks=outcome.checks,
        findings=(*verdict.findings, *outcome.findings),
        error=error_report(outcome.error, _log(outcome) if shown else None),
        export_key=outcome.export_key,
        verify_key=outcome.verify_key,
        why_exported=outcome.why_exported,
    )


def _with_speed(row: CellReport, measured: CellMeasured | None) -> CellReport:
    if measured is None or measured.speed is not None:
        return replace(row, speed=measured.speed) if measured else row
    finding = Finding(kind="latency", message=f"not measured: {measured.reason}")
    return replace(row, findings=(*row.findings, finding))


def _by_cell(regressions: Iterable[Regression]) -> dict[str, tuple[Regression, ...]]:
    found: dict[str, tuple[Regression, ...]] = {}
    for regression in regressions:
        found[regression.cell] = (*found.get(regression.cell, ()), regression)
    return found


def _baseline(compared: BaselineCompared | None, planned: Collection[str]) -> BaselineReport | None:
    if compared is None:
        return None
    return BaselineReport(
        compared=compared.compared, gone=tuple(each for each in compared.regressions if each.cell not in planned)
    )


def _absent(cell: Cell, status: RunStatus) -> CellResult:
    """The outcome of a cell that the ledger does not know: the plan left it out, or the run ended before it."""
    reason = cell.skip or ("it has no outcome yet" if status is RunStatus.RUNNING else "the run ended before it was done")
    return CellResult(cell=cell.id, status=Status.SKIPPED, reason=reason, attempts=0)


def _artifact(unit: Unit, cell: Cell, result: CellResult, delivered: Mapping[PurePosixPath, str]) -> ArtifactReport | None:
    if result.artifact is None:
        return None
    graph, path = result.artifact.files[0], layout.graph_path(unit, cell)
    if result.status is not Status.PASSED:
        place: str | None = str(layout.withheld_path(result))
    else:
        place = str(path) if delivered.get(path) == graph.sha256 else None
    return artifact_report(result.artifact, place)


def _in_the_store(result: CellResult) -> ArtifactReport | None:
    return artifact_report(result.artifact, None) if result.artifact else None


def _log(result: CellResult) -> str | None:
    logged = any(file.name == layout.EXPORT_LOG for file in result.attachments)
    return str(layout.cell_folder(result.cell) / layout.EXPORT_LOG) if logged else None
