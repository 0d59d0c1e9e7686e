"""One cell over all runs, each compared with the one before."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, pairwise

from orchestrator.history.compare import Change, changes, snapshot
from orchestrator.history.index import History
from orchestrator.report.summary import CellReport


@dataclass(frozen=True, kw_only=True, slots=True)
class Night:
    """A cell in one run."""

    run: str
    """Identifier of the run."""
    cell: CellReport
    changes: tuple[Change, ...]
    """What is not as in the run before that had the cell; empty for the first."""


def follow(history: History, cell: str, last: int) -> list[Night]:
    """A cell in the newest runs that had it, the newest first.

    Args:
        history: Over all runs.
        cell: Identifier.
        last: How many runs at most.
    """
    found = list(islice(history.of_cell(cell), last + 1))
    nights = [
        Night(run=run, cell=entry.report, changes=tuple(changes(snapshot(before.report), snapshot(entry.report))))
        for (run, entry), (_, before) in pairwise(found)
    ]
    first = [Night(run=run, cell=entry.report, changes=()) for run, entry in found[len(nights) :]]
    return [*nights, *first][:last]
