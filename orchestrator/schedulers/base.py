"""The contract between a run and the scheduler that places its units; how a unit is done is `orchestrator.unit`'s business."""

from __future__ import annotations

import importlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from orchestrator.result import Event
from orchestrator.spec import ClusterSpec, UnitTask


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What a worker runs for each unit."""

    function: str
    """`module:name` of a function like `orchestrator.unit.run`: task and scratch folder → events."""
    preload: tuple[str, ...]
    """Modules that a process with isolation imports once, before it forks a child per unit."""


UNIT = Program(function="orchestrator.unit:run", preload=("orchestrator.preload",))
"""The program of every real run; tests have smaller ones."""
MEASURE = Program(function="orchestrator.measure:run", preload=UNIT.preload)
"""What a run does last with the cells that are to be measured."""


class Scheduler(Protocol):
    """What a module in `schedulers` provides as `run`."""

    def __call__(
        self, tasks: Sequence[UnitTask], cluster: ClusterSpec, program: Program = UNIT
    ) -> Generator[Event, None, None]:
        """Do the units, handing them out in the given order.

        Yields events as they happen, of several units interleaved; at the end every cell that is neither skipped nor done has
        had exactly one CellFinished. Closing the generator early ends all work; then, as at the normal end, no process, no
        file and no socket is left. To be called from the main thread.

        Raises:
            EnvironmentRefusedError: the workers cannot be started.
            InterruptedRunError: SIGINT or SIGTERM came; everything was ended.
        """
        ...


SCHEDULERS = {
    "local": "orchestrator.schedulers.ray",
    "ray": "orchestrator.schedulers.ray",
    "inline": "orchestrator.schedulers.inline",
}
"""`cluster.kind` → module, as a name: planning must not import Ray, and `inline` not torch before it runs a unit."""


def load(kind: str) -> Scheduler:
    """The scheduler for a `ClusterSpec.kind`."""
    return cast(Scheduler, importlib.import_module(SCHEDULERS[kind]).run)
