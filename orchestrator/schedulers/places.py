"""Where supervisors can be: what `ray` asks of a machine or a cluster, and how slots are spread over nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from orchestrator.attribution import waiting
from orchestrator.spec import UnitTask


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """Room for one supervisor."""

    node: str
    """Identifier of its node."""
    name: str
    """Of the node, for people."""
    gpu: int | None = None
    """Which of the node's GPUs is set aside for its units; with one it takes those units only that need one."""


class Places(Protocol):
    """A machine or a cluster."""

    slots: Sequence[Slot]
    knows_gpus: bool
    """Whether it has slots for units that need one; if not, these are like all others and find it themselves."""

    def new_supervisor(self, slot: Slot) -> Any:
        """Begin to start one; None if the node is lost."""
        ...

    def lost(self, slot: Slot) -> bool:
        """Whether the slot's node is dead."""
        ...


Room = tuple[str, str, int, int]
"""A node's identifier, its name, its supervisors at once, its GPUs."""


def wants_gpu(task: UnitTask) -> bool:
    """Whether the unit has a cell to decide whose artifact runs on a GPU."""
    open_cells = waiting(task)
    return any(cell.target.device == "cuda" for cell in task.unit.cells if cell.id in open_cells)


def spread(rooms: Sequence[Room], workers: int, *, gpu_units: int, cpu_units: int) -> list[Slot]:
    """Slots for the units, no more than there are units of each kind, each node's first slot before any second one.

    Args:
        rooms: The nodes.
        workers: Slots at most; units that need a GPU come first, and one is kept for the others if there are any.
        gpu_units: Units that need a GPU.
        cpu_units: Units that need none.
    """
    for_gpu = min(gpu_units, max(1, workers - bool(cpu_units)))
    gpu_slots = list(islice(_in_turn([(node, name, min(slots, gpus)) for node, name, slots, gpus in rooms]), for_gpu))
    taken = [sum(slot.node == node for slot, _ in gpu_slots) for node, *_ in rooms]
    left = [(node, name, slots - used) for (node, name, slots, _), used in zip(rooms, taken, strict=True)]
    cpu_slots = islice(_in_turn(left), min(cpu_units, max(1, workers - len(gpu_slots))))
    return [
        *(Slot(node=slot.node, name=slot.name, gpu=number) for slot, number in gpu_slots),
        *(slot for slot, _ in cpu_slots),
    ]


def _in_turn(rooms: Sequence[tuple[str, str, int]]) -> Iterator[tuple[Slot, int]]:
    """Each node's first slot, then each node's second one and so on, with these numbers from 0."""
    for number in range(max((count for *_, count in rooms), default=0)):
        for node, name, count in rooms:
            if number < count:
                yield Slot(node=node, name=name), number
