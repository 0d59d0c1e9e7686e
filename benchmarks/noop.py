"""A unit that does nothing: what is left is the orchestrator's own cost. Not a benchmark; the others run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.result import CellFinished, CellResult, Event, Stage, StageStarted, Status
from orchestrator.schedulers.base import Program
from orchestrator.spec import UnitTask


def run(task: UnitTask, _folder: Path) -> Iterator[Event]:
    """The events of a unit whose every cell passes at once."""
    yield StageStarted(unit=task.unit.id, cell=None, stage=Stage.BUILD)
    for cell in task.unit.cells:
        if cell.id not in task.done:
            yield StageStarted(unit=task.unit.id, cell=cell.id, stage=Stage.EMIT)
            yield CellFinished(result=CellResult(cell=cell.id, status=Status.PASSED, reason="", durations={"total": 0.0}))


PROGRAM = Program(function="benchmarks.noop:run", preload=())
