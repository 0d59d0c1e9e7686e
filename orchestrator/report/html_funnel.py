"""How far the cells of a run came: planned, captured, emitted, then each check, and where the others fell out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.report import wording
from orchestrator.report.summary import CellReport
from orchestrator.result import Stage, Status

PLANNED = "planned"
CAPTURED = "captured"
EMITTED = "emitted"
VERIFIED = "verified"
"""The last step: only a cell that passed takes it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A step of the funnel."""

    name: str
    """planned, captured, emitted, the name of a check, verified."""
    reached: int
    """Cells that took it."""
    lost: Mapping[Status, int]
    """Cells that took the step before and not this one, by how they ended."""


def funnel(cells: Sequence[CellReport]) -> list[Step]:
    """The steps in order; what is lost on the way and what takes the last step are all cells."""
    names = steps(cells)
    lost = {name: Counter[Status]() for name in names}
    for cell in cells:
        if (name := fell(cell, names)) is not None:
            lost[name][cell.status] += 1
    found, left = [], len(cells)
    for name in names:
        left -= lost[name].total()
        found.append(Step(name=name, reached=left, lost=lost[name]))
    return found


def steps(cells: Sequence[CellReport]) -> list[str]:
    """The names of the steps; checks in the order in which they ran."""
    checks = dict.fromkeys(check.id for cell in cells for check in cell.checks)
    return [PLANNED, CAPTURED, EMITTED, *checks, VERIFIED]


def fell(cell: CellReport, names: Sequence[str]) -> str | None:
    """The step that a cell did not take; None if it passed.

    Args:
        cell: Of the run.
        names: From `steps`.
    """
    if cell.status is Status.PASSED:
        return None
    stage = cell.error.stage if cell.error else None
    if cell.artifact is None and stage is not Stage.VERIFY:
        return EMITTED if stage is Stage.EMIT else CAPTURED
    outcomes = {check.id: check.status for check in cell.checks}
    failed = (name for name in names if outcomes.get(name) in wording.FAILING)
    unknown = (name for name in names[names.index(EMITTED) + 1 :] if name not in outcomes)
    return next(failed, None) or next(unknown)
