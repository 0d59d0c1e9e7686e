"""The cells of a fleet over its nights: how each ended, since when it is red, and how its figures went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.baseline import scope
from orchestrator.history.index import History, RunEntry
from orchestrator.report import figures, wording
from orchestrator.report.summary import CellReport
from orchestrator.result import Status
from orchestrator.store.ledger import RunStatus

COMMAND = ("python", "-m", "orchestrator")
"""What a command line begins with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A cell in one night."""

    status: Status
    expected: bool
    worse: bool
    """Than what was accepted."""
    bytes: int | None
    error_ratio: float | None
    """The worst error over its bound."""
    export_seconds: float | None
    """None if the night took it over from an earlier one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trend:
    """A cell over the nights."""

    cell: str
    points: tuple[Point | None, ...]
    """The oldest night first; None where it was not planned."""
    red_since: str | None
    """The first of the newest nights in a row in which it was not as expected; None if it is as expected, or not planned."""
    problem: str
    """What is wrong in the newest night; empty if nothing is."""


def nights(history: History, last: int) -> list[RunEntry]:
    """The newest finished runs that had the same command as the newest one, the oldest first.

    Args:
        history: Over all runs.
        last: How many at most.
    """
    finished = [run for run in history.runs() if run.report and run.report.status is RunStatus.FINISHED]
    if not finished:
        return []
    own = _scope(finished[0])
    return [run for run in finished if _scope(run) == own][:last][::-1]


def trends(history: History, runs: Sequence[RunEntry]) -> list[Trend]:
    """Every cell of these runs: what is red first, and that first which has been for longest."""
    cells = [{name: entry.report for name, entry in history.cells(run.id).items()} for run in runs]
    names = dict.fromkeys(name for night in reversed(cells) for name in night)
    found = [_trend(name, [night.get(name) for night in cells], runs) for name in names]
    return sorted(found, key=lambda trend: (trend.red_since is None, trend.red_since or ""))


def series(trend: Trend) -> Mapping[str, tuple[float | None, ...]]:
    """The figures of a cell night by night, by name."""
    points = trend.points
    return {
        "size": tuple(point.bytes if point else None for point in points),
        "error": tuple(point.error_ratio if point else None for point in points),
        "export": tuple(point.export_seconds if point else None for point in points),
    }


def _scope(run: RunEntry) -> tuple[str, ...]:
    assert run.report, "it can be read"
    return scope([word for word in run.report.command[len(COMMAND) :] if not word.startswith("hydra.")])


def _trend(name: str, rows: Sequence[CellReport | None], runs: Sequence[RunEntry]) -> Trend:
    since: str | None = None
    for row, run in zip(reversed(rows), reversed(runs), strict=True):
        if row is None or row.expected:
            break
        since = run.id
    newest = rows[-1]
    problem = next(iter(wording.problems(newest)), newest.status) if newest and since else ""
    return Trend(cell=name, points=tuple(_point(row) if row else None for row in rows), red_since=since, problem=problem)


def _point(row: CellReport) -> Point:
    return Point(
        status=row.status,
        expected=row.expected,
        worse=bool(row.regressions),
        bytes=row.artifact.bytes if row.artifact else None,
        error_ratio=figures.error_ratio(row),
        export_seconds=figures.export_seconds(row),
    )
