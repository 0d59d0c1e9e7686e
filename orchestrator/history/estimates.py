"""What earlier runs say of cells that are wanted again: how they ended, what they took, how large they were.

Asks the index over all runs. A run that cannot be read says nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from orchestrator.history.index import CellEntry, History
from orchestrator.report.summary import CellReport
from orchestrator.result import FileRef, Origin, Stage

DEEPEST = 10
"""Runs that are read for what cells took: older ones were another fleet's or another torch's."""
SHARED = (Stage.BUILD, Stage.REFERENCE)
"""Stages that a unit goes through once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a cell took when it was last done."""

    shared: float
    """Seconds of what its unit does once for all cells."""
    own: float
    """Seconds of the other stages."""
    files: tuple[FileRef, ...] = ()
    """Of its artifact."""


def newest(history: History) -> Mapping[str, CellReport] | None:
    """How the cells of the newest run ended, whether it reached its end or not; None if there is no run."""
    for run in history.runs():
        if run.problem is None:
            return {cell: entry.report for cell, entry in history.cells(run.id).items()}
    return None


def costs(history: History, wanted: Collection[str]) -> Mapping[str, Cost]:
    """What cells took in the newest run that did them.

    Args:
        history: Of the folder of the runs.
        wanted: Identifiers of cells; those that were not done lately are not in the answer.
    """
    found: dict[str, Cost] = {}
    missing = set(wanted)
    for run in history.runs()[:DEEPEST]:
        if not missing:
            break
        done = {cell: entry for cell, entry in history.cells(run.id).items() if cell in missing and _was_done(entry.report)}
        found |= {cell: _cost(entry) for cell, entry in done.items()}
        missing -= done.keys()
    return found


def bytes_needed(cells: Collection[str], known: Mapping[str, Cost]) -> int:
    """How much the artifacts of cells will take, kept in the store and delivered into the run folder.

    Cells that were never done count as the mean of the others; files that cells share count once.
    """
    done = [known[cell] for cell in cells if cell in known]
    if not done:
        return 0
    files = {file.sha256: file.bytes for cost in done for file in cost.files}
    return int(2 * sum(files.values()) * len(cells) / len(done))


def seconds(cells: Collection[str], known: Mapping[str, Cost]) -> float | None:
    """What a unit of these cells will take; None if none of them was done before."""
    done = [known[cell] for cell in cells if cell in known]
    if not done:
        return None
    return max(cost.shared for cost in done) + sum(cost.own for cost in done) * len(cells) / len(done)


def _was_done(cell: CellReport) -> bool:
    """By that run, and neither taken over nor left out."""
    return cell.origin is not Origin.CACHE and cell.attempts > 0


def _cost(entry: CellEntry) -> Cost:
    durations = {stage: entry.report.durations.get(stage.value, 0.0) for stage in Stage}
    shared = sum(durations[stage] for stage in SHARED)
    return Cost(shared=shared, own=sum(durations.values()) - shared, files=entry.files)
