"""What a run has done and is at, fed with the events of its units. Shows nothing, and keeps no result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from orchestrator.report.expected import issues, judge
from orchestrator.report.rest import Rest
from orchestrator.result import CellFinished, Event, Stage, Status
from orchestrator.spec import Plan


class Done(NamedTuple):
    """What is kept of a finished cell."""

    status: Status
    expected: bool
    seconds: float


class Work(NamedTuple):
    """What a unit is at."""

    cell: str | None
    """None: all its cells that are not finished."""
    stage: Stage
    since: float
    """By the run's clock."""


class Failure(NamedTuple):
    """The cell that last ended otherwise than expected."""

    cell: str
    status: Status
    reason: str


class Progress:
    """Every cell that is to be done, and where it is."""

    def __init__(self, plan: Plan, clock: Callable[[], float]) -> None:
        self.unit_of = {cell.id: unit.id for unit in plan.units for cell in unit.cells if cell.skip is None}
        """Of each cell that is not skipped, in plan order."""
        self.units = len(set(self.unit_of.values()))
        """That have cells to do."""
        self.done: dict[str, Done] = {}
        """In the order in which they ended."""
        self.counts: Counter[tuple[Status, bool]] = Counter()
        """Cells by status and whether that was expected."""
        self.unexpected: list[str] = []
        self.failure: Failure | None = None
        self.running: dict[str, Work] = {}
        """By unit, in the order in which they began."""
        self._clock = clock
        self._start = clock()
        self._rest = Rest(plan)
        self._issues = {cell.id: issues(plan, unit) for unit in plan.units for cell in unit.cells}
        self._today = datetime.now(UTC).date().isoformat()

    @property
    def total(self) -> int:
        """Cells to do; those that the plan skips are none."""
        return len(self.unit_of)

    @property
    def elapsed(self) -> float:
        """Seconds since it was made."""
        return self._clock() - self._start

    @property
    def rest(self) -> float | None:
        """Seconds that are left, or None if nothing honest can be said."""
        return self._rest.seconds(self._clock())

    def on_event(self, event: Event) -> None:
        """Note what a unit reports."""
        if isinstance(event, CellFinished):
            self._finish(event)
        elif event.unit in self._rest:
            # A unit that is done may still be heard of: another node did it before this one was known to be lost.
            self._rest.started(event.unit, self._clock())
            self.running[event.unit] = Work(event.cell, event.stage, self._clock())

    def work_on(self, cell: str) -> Work | None:
        """The work that is done for an unfinished cell right now."""
        work = self.running.get(self.unit_of[cell])
        return work if work and work.cell in (None, cell) else None

    def seconds_at(self, work: Work) -> float:
        """How long a unit has been at its stage."""
        return self._clock() - work.since

    def _finish(self, event: CellFinished) -> None:
        result = event.result
        expected = judge(result.cell, result.status, self._issues[result.cell], self._today).expected
        self.done[result.cell] = Done(result.status, expected, result.durations.get("total", 0.0))
        self.counts[result.status, expected] += 1
        if not expected:
            self.unexpected.append(result.cell)
            self.failure = Failure(result.cell, result.status, result.reason)
        unit = self.unit_of[result.cell]
        self._rest.finished(unit, self._clock())
        if unit not in self._rest:
            self.running.pop(unit, None)
