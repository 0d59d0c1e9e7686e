"""What earlier runs say of cells that are wanted again: how they ended, what they took, how large they were.

Reads plans and ledgers, which are the truth of a run, and nothing that is derived from them. A run that cannot be
read says nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator import layout
from orchestrator.errors import OrchestratorError
from orchestrator.folder import read_plan
from orchestrator.report.summary import CellReport, summarise
from orchestrator.result import CellFinished, CellResult, FileRef, Origin, Stage
from orchestrator.runs import newest_first
from orchestrator.store import ledger

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


def newest(runs: Path) -> Mapping[str, CellReport] | None:
    """How the cells of the newest run ended, whether it reached its end or not; None if there is no run.

    Args:
        runs: The folder of the run folders.
    """
    for folder in newest_first(runs):
        try:
            return {cell.id: cell for cell in summarise(read_plan(folder), ledger.read(folder / layout.LEDGER)).cells}
        except (OSError, OrchestratorError, StopIteration):
            continue
    return None


def costs(runs: Path, wanted: Collection[str]) -> Mapping[str, Cost]:
    """What cells took in the newest run that did them.

    Args:
        runs: The folder of the run folders.
        wanted: Identifiers of cells; those that were not done lately are not in the answer.
    """
    found: dict[str, Cost] = {}
    missing = set(wanted)
    for folder in list(newest_first(runs))[:DEEPEST]:
        if not missing:
            break
        for result in _results(folder):
            if result.cell in missing and result.origin is Origin.RAN:
                found[result.cell] = _cost(result)
        missing -= found.keys()
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


def _results(folder: Path) -> Iterable[CellResult]:
    try:
        records = ledger.read(folder / layout.LEDGER)
    except OrchestratorError:
        return []
    return [record.result for record in records if isinstance(record, CellFinished)]


def _cost(result: CellResult) -> Cost:
    durations = {stage: result.durations.get(stage.value, 0.0) for stage in Stage}
    shared = sum(durations[stage] for stage in SHARED)
    files = result.artifact.files if result.artifact else ()
    return Cost(shared=shared, own=sum(durations.values()) - shared, files=files)
