"""How long a run still takes: from what its cells took before, else from the pace of this run, else nothing is said.

Knows no result and no clock of its own; whoever feeds it says when.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.spec import Plan

ENOUGH_UNITS = 3
ENOUGH_CELLS = 3
ENOUGH_SHARE = 0.05
"""So many units, or so many cells and such a share of all, must have ended before a pace is worth naming."""


@dataclass(slots=True)
class _Open:
    """A unit with cells to do."""

    estimate: float | None
    cells: int
    left: int = field(init=False)
    started: float | None = None
    last: float = 0.0
    """When it began, or when its last cell ended."""

    def __post_init__(self) -> None:
        self.left = self.cells


class Rest:
    """The units that are not done, and the pace of those that are."""

    def __init__(self, plan: Plan) -> None:
        sizes = {unit.id: (unit.estimate, sum(cell.skip is None for cell in unit.cells)) for unit in plan.units}
        self._open = {unit: _Open(estimate, cells) for unit, (estimate, cells) in sizes.items() if cells}
        self._unknown = sum(unit.estimate is None for unit in self._open.values())
        self._cells = sum(unit.cells for unit in self._open.values())
        self._workers = plan.settings.cluster.workers
        self._spent = 0.0
        self._ran = 0
        self._ended = 0

    def __contains__(self, unit: str) -> bool:
        """Whether a unit has cells to do."""
        return unit in self._open

    def started(self, unit: str, now: float) -> None:
        """A unit is at work; only the first time counts."""
        at = self._open[unit]
        if at.started is None:
            at.started = at.last = now

    def finished(self, unit: str, now: float) -> None:
        """A unit has one cell less to do; if it never began, the cell says nothing about the pace."""
        at = self._open[unit]
        at.left -= 1
        if at.started is not None:
            self._spent += now - at.last
            self._ran += 1
            at.last = now
        if not at.left:
            del self._open[unit]
            self._ended += at.started is not None
            self._unknown -= at.estimate is None

    def seconds(self, now: float) -> float | None:
        """Wall time until all units are done.

        The work that is left shared by the workers, but not less than the longest unit that is left. Within a unit both the
        share of its finished cells and the time spent are progress: the larger counts, as its first cell pays what they share.

        Returns:
            None where nothing honest can be said: a unit has neither an estimate nor a pace to borrow, or all have overrun.
        """
        pace = self._pace()
        if not self._open or (pace is None and self._unknown):
            return None
        rests = [_left(unit, pace or 0.0, now) for unit in self._open.values()]
        return max(sum(rests) / self._workers, *rests) or None

    def _pace(self) -> float | None:
        """Seconds of a worker per cell; None until enough has ended."""
        enough = self._ended >= ENOUGH_UNITS or self._ran >= max(ENOUGH_CELLS, ENOUGH_SHARE * self._cells)
        return self._spent / self._ran if enough else None


def _left(unit: _Open, pace: float, now: float) -> float:
    whole = pace * unit.cells if unit.estimate is None else unit.estimate
    if unit.started is None:
        return whole * unit.left / unit.cells
    return max(0.0, min(whole * unit.left / unit.cells, whole - (now - unit.started)))
