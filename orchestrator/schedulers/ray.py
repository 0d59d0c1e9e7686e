"""Places units on supervisors with Ray, here or on a cluster; Ray isolates nothing, each supervisor has a sandbox for that.

How a Ray is reached is `connection`'s business, what runs on its nodes is in `nodes`.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import psutil

from orchestrator.attribution import waiting, without
from orchestrator.errors import InterruptedRunError
from orchestrator.result import CellError, CellFinished, CellResult, Event, Finding, Stage, StageStarted, Status
from orchestrator.schedulers.base import UNIT, Program
from orchestrator.schedulers.cluster import cluster_places
from orchestrator.schedulers.connection import own_ray
from orchestrator.schedulers.nodes import ForkServers, Supervisor, private_folder
from orchestrator.schedulers.places import Places, Slot, wants_gpu
from orchestrator.spec import ClusterSpec, UnitTask

ATTEMPTS = 2
"""For a unit whose supervisor is lost, and for a supervisor to start; what a unit does to itself is never tried again."""

WAIT_SECONDS = 0.2
"""Between two looks at whether a signal came."""

PLACE_SECONDS = 120.0
"""For a supervisor to start while no unit is worked on; then what waits is given up."""

ELSEWHERE_SECONDS = 30.0
"""For another node than the one that lost a unit to have a supervisor for it, while nothing else happens."""

KILLED_SECONDS = 5.0
"""For killed processes to disappear."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The last one comes when a terminal is closed."""

NO_GPU = "no node of the cluster has a GPU"
NO_PLACE = "no supervisor was left for it and none could be started"

INTERRUPTED = "Interrupted: everything was stopped. What was finished is kept."


def run(tasks: Sequence[UnitTask], cluster: ClusterSpec, program: Program = UNIT) -> Generator[Event, None, None]:
    """Do the units on a Ray of our own, or with kind ray on one that exists; see base.Scheduler.

    A unit whose supervisor is lost goes on on another one, of another node where there is one; if that is lost too, its cells
    end as infra_error. A unit that needs a GPU which no node has is skipped.
    """
    if not tasks:
        return
    with ExitStack() as stack:
        folder = stack.enter_context(private_folder())
        interruption = stack.enter_context(_Interruption(folder))
        stack.enter_context(_no_process_left())
        make = _own_places(tasks, cluster, program, folder, interruption.check)
        if cluster.kind == "ray":
            make = cluster_places(tasks, cluster, program, interruption.check)
        places = stack.enter_context(make)
        yield from _Dispatch(tasks, places, interruption).events()


@contextmanager
def _own_places(
    tasks: Sequence[UnitTask], cluster: ClusterSpec, program: Program, folder: Path, check: Callable[[], None]
) -> Iterator[Places]:
    with ExitStack() as stack:
        # Before Ray, so that the two start side by side.
        servers = ForkServers(folder, program.preload, cluster.threads_per_worker)
        stack.callback(servers.close)
        check()
        slots = min(cluster.workers, len(tasks))
        stack.enter_context(own_ray(folder / "ray", slots))
        check()
        yield _OwnPlaces(slots, servers, program)


class _OwnPlaces:
    """This machine, with Ray and a fork server of this process."""

    knows_gpus = False

    def __init__(self, slots: int, servers: ForkServers, program: Program) -> None:
        self.slots: Sequence[Slot] = [Slot(node="", name="this machine") for _ in range(slots)]
        self._servers, self._program = servers, program

    def new_supervisor(self, _slot: Slot) -> Any:
        import ray

        actor = ray.remote(Supervisor).options(num_cpus=1, max_restarts=0, max_task_retries=0)
        return actor.remote(self._servers.address(), str(self._servers.scratch), self._program.function)

    def lost(self, _slot: Slot) -> bool:
        return False


@dataclass(kw_only=True)
class _Flight:
    """A unit that waits for a supervisor or has one."""

    task: UnitTask
    """Its `done` grows with every cell that is decided."""
    attempt: int = 1
    stage: Stage = Stage.BUILD
    left: Slot | None = None
    """Where its supervisor was lost."""
    node_lost: bool = False
    """With its whole node."""

    def see(self, event: Event, slot: Slot) -> Event:
        """Follow an event, and say in a result which attempt it is of, and why it is not the first."""
        match event:
            case StageStarted(stage=stage):
                self.stage = stage
                return event
            case CellFinished(result=result):
                self.task = without(self.task, [result.cell])
                findings = (*result.findings, *self._findings(slot))
                return CellFinished(result=replace(result, attempts=self.attempt, findings=findings))

    def _findings(self, slot: Slot) -> Iterator[Finding]:
        if self.left is not None and self.node_lost:
            message = f"{self.left.name} was lost before this cell had a verdict; it was given to {slot.name}"
            yield Finding(kind="node_lost", message=message)


@dataclass(kw_only=True)
class _Supervisor:
    """The actor of a slot."""

    slot: Slot
    actor: Any
    starts: int = 1
    """How often in a row one was started here; 0 once one was ready."""


class _Dispatch:
    """Hands units to supervisors that are ready and passes on what they report."""

    def __init__(self, tasks: Sequence[UnitTask], places: Places, interruption: _Interruption) -> None:
        self._places = places
        self._interruption = interruption
        self._queues: dict[bool, deque[_Flight]] = {True: deque(), False: deque()}
        """By whether a slot with a GPU is needed."""
        for task in tasks:
            self._queue(task).append(_Flight(task=task))
        self._idle: list[_Supervisor] = []
        self._starting: dict[Any, _Supervisor] = {}
        """The reference to an answer that a supervisor is ready → the supervisor."""
        self._flying: dict[Any, tuple[_Supervisor, _Flight]] = {}
        """The stream of a unit's events → its supervisor and the unit."""
        self._moved = time.monotonic()

    def events(self) -> Iterator[Event]:
        import ray

        yield from self._without_gpu()
        for slot in self._places.slots:
            self._start(slot)
        while any(self._queues.values()) or self._flying:
            self._hand_out()
            if self._stuck:
                yield from self._give_up()
                return
            ready, _ = ray.wait([*self._flying, *self._starting], timeout=WAIT_SECONDS)
            self._interruption.check()
            for reference in ready:
                self._moved = time.monotonic()
                if reference in self._starting:
                    self._started(reference)
                else:
                    yield from self._next(reference)

    def _without_gpu(self) -> Iterator[Event]:
        """Skip the units that need what no node has."""
        if any(slot.gpu is not None for slot in self._places.slots):
            return
        for flight in self._drain(gpu=True):
            for cell in waiting(flight.task):
                yield CellFinished(result=CellResult(cell=cell, status=Status.SKIPPED, reason=NO_GPU))

    def _start(self, slot: Slot, starts: int = 1) -> None:
        actor = self._places.new_supervisor(slot)
        if actor is not None:
            self._ask(_Supervisor(slot=slot, actor=actor, starts=starts))

    def _ask(self, supervisor: _Supervisor) -> None:
        self._starting[supervisor.actor.check.remote()] = supervisor

    def _started(self, reference: Any) -> None:
        import ray

        supervisor = self._starting.pop(reference)
        try:
            ray.get(reference)
        except ray.exceptions.RayError:
            ray.kill(supervisor.actor)
            if supervisor.starts < ATTEMPTS and not self._places.lost(supervisor.slot):
                self._start(supervisor.slot, supervisor.starts + 1)
        else:
            supervisor.starts = 0
            self._idle.append(supervisor)

    def _hand_out(self) -> None:
        for supervisor in list(self._idle):
            flight = self._take(supervisor.slot)
            if flight is not None:
                self._idle.remove(supervisor)
                stream = supervisor.actor.run.options(num_returns="streaming").remote(msgspec.json.encode(flight.task))
                self._flying[stream] = supervisor, flight

    def _take(self, slot: Slot) -> _Flight | None:
        """The next unit for a slot: what needs a GPU first, and nothing that was lost on its node if there is another one."""
        for gpu in (True, False) if slot.gpu is not None else (False,):
            queue = self._queues[gpu]
            for flight in queue:
                if not self._elsewhere(flight, slot, gpu):
                    queue.remove(flight)
                    return flight
        return None

    def _elsewhere(self, flight: _Flight, slot: Slot, gpu: bool) -> bool:
        if flight.left is None or flight.left.node != slot.node or time.monotonic() - self._moved > ELSEWHERE_SECONDS:
            return False
        others = [*self._idle, *self._starting.values(), *(supervisor for supervisor, _ in self._flying.values())]
        return any(other.slot.node != slot.node and (other.slot.gpu is not None or not gpu) for other in others)

    def _next(self, stream: Any) -> Iterator[Event]:
        """The next event of a unit, or what follows from its end."""
        import ray

        supervisor, flight = self._flying[stream]
        try:
            event = msgspec.json.decode(ray.get(next(stream)), type=Event)
        except StopIteration:
            del self._flying[stream]
            self._idle.append(supervisor)
        except ray.exceptions.RayError as error:
            del self._flying[stream]
            ray.kill(supervisor.actor)
            yield from self._lost(supervisor, flight, error)
        else:
            yield flight.see(event, supervisor.slot)

    def _lost(self, supervisor: _Supervisor, flight: _Flight, error: Exception) -> Iterator[Event]:
        node_lost = self._places.lost(supervisor.slot)
        if not node_lost:
            self._start(supervisor.slot)
        # Whatever took this one may have taken others too.
        for other in self._idle:
            self._ask(other)
        self._idle.clear()
        if flight.attempt < ATTEMPTS:
            again = _Flight(task=flight.task, attempt=flight.attempt + 1, left=supervisor.slot, node_lost=node_lost)
            self._queue(flight.task).appendleft(again)
            return
        # What a supervisor raised, Ray wraps.
        cause = str(getattr(error, "cause", error)).strip().splitlines()[0]
        for cell in waiting(flight.task):
            result = _lost_cell(cell, flight.stage, f"its supervisor was lost {ATTEMPTS} times: {cause}", str(error))
            yield flight.see(CellFinished(result=result), supervisor.slot)

    @property
    def _stuck(self) -> bool:
        """Whether units wait that nobody took, none is worked on, and no supervisor comes for them."""
        comes = self._starting and time.monotonic() - self._moved < PLACE_SECONDS
        return not self._flying and not comes

    def _give_up(self) -> Iterator[Event]:
        for flight in [*self._drain(gpu=True), *self._drain(gpu=False)]:
            for cell in waiting(flight.task):
                result = replace(_lost_cell(cell, flight.stage, NO_PLACE, ""), attempts=flight.attempt)
                yield CellFinished(result=result)

    def _queue(self, task: UnitTask) -> deque[_Flight]:
        return self._queues[self._places.knows_gpus and wants_gpu(task)]

    def _drain(self, *, gpu: bool) -> list[_Flight]:
        flights = list(self._queues[gpu])
        self._queues[gpu].clear()
        return flights


class _Interruption:
    """SIGNALS: the first asks for an orderly end within seconds, the second ends everything at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._requested = False
        self._family: list[psutil.Process] = []
        """Who was below us at the first signal: an orderly end that is cut short leaves orphans of Ray's."""
        self._before: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """Take the signals."""
        for number in SIGNALS:
            # nohup has this one ignored, so that the run goes on without a terminal.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._handle)

    def check(self) -> None:
        """Raise InterruptedRunError if a signal came. Not raised from the handler: ray.init does not survive it."""
        if self._requested:
            raise InterruptedRunError(INTERRUPTED)

    def __enter__(self) -> _Interruption:
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._requested:
            _kill([*self._family, *_below(psutil.Process())])
            shutil.rmtree(self._folder, ignore_errors=True)
            os._exit(InterruptedRunError.exit_code)
        self._requested = True
        self._family = _below(psutil.Process())


@contextmanager
def _no_process_left() -> Iterator[None]:
    """Kill at the end what was started meanwhile and is still there."""
    before = psutil.Process().children()
    try:
        yield
    finally:
        children = [process for process in psutil.Process().children() if process not in before]
        _kill([*children, *(below for child in children for below in _below(child))])
        # Only ours: the others are reaped by whoever adopts them.
        psutil.wait_procs(children, timeout=KILLED_SECONDS)


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _lost_cell(cell: str, stage: Stage, message: str, traceback: str) -> CellResult:
    return CellResult(
        cell=cell,
        status=Status.INFRA_ERROR,
        reason=f"{stage}: {message}",
        error=CellError(stage=stage, kind="supervisor_lost", message=message, traceback=traceback),
    )
