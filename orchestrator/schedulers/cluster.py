"""The nodes of a Ray cluster that exists, as places for supervisors: proved before work, given back as they were.

A node that is lost is not waited for: its slots are gone.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from orchestrator import provenance
from orchestrator.errors import EnvironmentRefusedError
from orchestrator.schedulers.base import Program
from orchestrator.schedulers.connection import existing_ray
from orchestrator.schedulers.nodes import Challenge, Keeper, Proof, Supervisor, challenged, objections
from orchestrator.schedulers.places import Slot, spread, wants_gpu
from orchestrator.spec import ClusterSpec, UnitTask

PROOF_SECONDS = 60.0
"""For a node to start a worker and prove itself; measured: 1.5 to 3 s."""

ANSWER_SECONDS = 5.0
"""For what takes milliseconds unless the node is lost."""

POLL_SECONDS = 0.2
"""Between two looks at whether a signal came."""


@dataclass(kw_only=True)
class _Node:
    """A node and what we have started on it."""

    id: str
    name: str
    """For people: address, and the beginning of its identifier, since an address may have several."""
    slots: int
    """Supervisors that its CPUs have room for."""
    gpus: int
    keepers: dict[int | None, Any] = field(default_factory=dict)
    """By GPU; None is the keeper for units that need none."""


@contextmanager
def cluster_places(
    tasks: Sequence[UnitTask], cluster: ClusterSpec, program: Program, check: Callable[[], None]
) -> Iterator[ClusterPlaces]:
    """Places for the units on a cluster, on nodes that are fit for them; nothing of ours is left there.

    Args:
        tasks: What there is to do.
        cluster: Its address, and how much of it to use.
        program: What a worker runs.
        check: Called often while nodes are waited for, and raises when we are to stop.

    Raises:
        EnvironmentRefusedError: the cluster cannot be reached, or a node of it cannot take part; all reasons are told.
    """
    with existing_ray(cluster):
        places = ClusterPlaces(_nodes(cluster), cluster, program)
        try:
            places.prepare(tasks, check)
            yield places
        finally:
            places.close()


class ClusterPlaces:
    """See places.Places."""

    knows_gpus = True

    def __init__(self, nodes: Sequence[_Node], cluster: ClusterSpec, program: Program) -> None:
        self.slots: Sequence[Slot] = ()
        self._nodes = {node.id: node for node in nodes}
        self._cluster, self._program = cluster, program
        self._supervisors: list[Any] = []

    def prepare(self, tasks: Sequence[UnitTask], check: Callable[[], None]) -> None:
        """Choose the slots, and have their nodes prove that they are fit."""
        wanted = sum(map(wants_gpu, tasks))
        rooms = [(node.id, node.name, node.slots, node.gpus) for node in self._nodes.values()]
        self.slots = spread(rooms, self._cluster.workers, gpu_units=wanted, cpu_units=len(tasks) - wanted)
        for slot in self.slots:
            keepers = self._nodes[slot.node].keepers
            if slot.gpu not in keepers:
                keepers[slot.gpu] = self._new_keeper(slot)
        with challenged(Path(tasks[0].store)) as challenge:
            self._have_proved(challenge, check)

    def new_supervisor(self, slot: Slot) -> Any:
        """Start one; None if the node is lost.

        Raises:
            EnvironmentRefusedError: what every unit needs cannot be imported there.
        """
        import ray

        keeper = self._nodes[slot.node].keepers[slot.gpu]
        try:
            address, scratch = ray.get(keeper.place.remote(), timeout=ANSWER_SECONDS)
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            return None
        except ray.exceptions.RayTaskError as error:
            raise EnvironmentRefusedError(f"{slot.name}: {error.cause}") from error
        actor = self._pinned(Supervisor, slot.node, num_cpus=self._cluster.threads_per_worker)
        self._supervisors.append(actor.remote(address, scratch, self._program.function))
        return self._supervisors[-1]

    def lost(self, slot: Slot) -> bool:
        """Whether the slot's node is known as dead, or does not answer: a cluster takes 15 s to notice that."""
        import ray

        return not any(node["Alive"] and node["NodeID"] == slot.node and _answers(node) for node in ray.nodes())

    def close(self) -> None:
        """End what we have started, as far as it can be reached."""
        import ray

        for supervisor in self._supervisors:
            ray.kill(supervisor)
        keepers = [keeper for node in self._nodes.values() for keeper in node.keepers.values()]
        closing = [keeper.close.remote() for keeper in keepers]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=ANSWER_SECONDS)
        for keeper in keepers:
            ray.kill(keeper)

    def _new_keeper(self, slot: Slot) -> Any:
        # It holds the GPU and not its supervisor: children inherit from the fork server which one they see.
        actor = self._pinned(Keeper, slot.node, num_cpus=0, num_gpus=0 if slot.gpu is None else 1)
        return actor.remote(msgspec.json.encode(self._program), self._cluster.threads_per_worker)

    def _pinned(self, actor: type, node: str, **resources: int) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        return ray.remote(actor).options(scheduling_strategy=strategy, max_restarts=0, max_task_retries=0, **resources)

    def _have_proved(self, challenge: Challenge, check: Callable[[], None]) -> None:
        asked = msgspec.json.encode(challenge)
        pending = {
            keeper.prove.remote(asked): (node.name, gpu is not None)
            for node in self._nodes.values()
            for gpu, keeper in node.keepers.items()
        }
        problems = []
        ours = provenance.versions()
        for reference, answer in _in_time(list(pending), check):
            name, for_gpu = pending[reference]
            if isinstance(answer, Proof):
                problems += objections(name, answer, ours, for_gpu=for_gpu)
            else:
                problems.append(f"{name}: {answer}")
        if problems:
            raise EnvironmentRefusedError("\n".join(["Not every node of the cluster can take part:", *sorted(set(problems))]))


def _answers(facts: dict[str, Any]) -> bool:
    try:
        with socket.create_connection((facts["NodeManagerAddress"], facts["NodeManagerPort"]), timeout=ANSWER_SECONDS):
            return True
    except OSError:
        return False


def _in_time(left: list[Any], check: Callable[[], None]) -> Iterator[tuple[Any, Proof | str]]:
    """Each reference with its proof, or why there is none."""
    import ray

    deadline = time.monotonic() + PROOF_SECONDS
    while left and time.monotonic() < deadline:
        ready, left = ray.wait(left, timeout=POLL_SECONDS)
        check()
        yield from ((reference, _proof(reference)) for reference in ready)
    for reference in left:
        yield reference, f"did not start a worker within {PROOF_SECONDS:g} s; is it busy with something else?"


def _proof(reference: Any) -> Proof | str:
    import ray

    try:
        return msgspec.json.decode(ray.get(reference), type=Proof)
    except ray.exceptions.RayError as error:
        # Ray wraps what was raised there in several layers of its own words; the last line is it.
        return str(error).strip().splitlines()[-1]


def _nodes(cluster: ClusterSpec) -> list[_Node]:
    """The nodes that have room for a supervisor.

    Raises:
        EnvironmentRefusedError: there is none.
    """
    import ray

    found = [_node(facts, cluster.threads_per_worker) for facts in ray.nodes() if facts["Alive"]]
    fit = sorted((node for node in found if node.slots), key=lambda node: node.name)
    if not fit:
        raise EnvironmentRefusedError(
            f"No node of the cluster at {cluster.address} has {cluster.threads_per_worker} CPUs, which a worker needs "
            "(cluster.threads_per_worker)."
        )
    return fit


def _node(facts: dict[str, Any], threads: int) -> _Node:
    resources = facts["Resources"]
    return _Node(
        id=facts["NodeID"],
        name=f"node {facts['NodeManagerAddress']} ({facts['NodeID'][:8]})",
        slots=int(resources.get("CPU", 0)) // threads,
        gpus=int(resources.get("GPU", 0)),
    )
