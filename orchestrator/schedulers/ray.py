"""Places units on supervisors with Ray, on this machine; Ray isolates nothing, each supervisor has a sandbox for that.

Ray listens on loopback only, with a token per process, prints nothing, and leaves nothing behind.
"""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import psutil

from orchestrator.attribution import waiting, without
from orchestrator.errors import EnvironmentRefusedError, InterruptedRunError
from orchestrator.forkserver import ForkServer
from orchestrator.result import CellError, CellFinished, CellResult, Event, Stage, StageStarted, Status
from orchestrator.sandbox import Sandbox
from orchestrator.schedulers.base import UNIT, Program
from orchestrator.spec import ClusterSpec, UnitTask

ATTEMPTS = 2
"""For a unit whose supervisor is lost; what a unit does to itself is never tried again."""

WAIT_SECONDS = 0.2
"""Between two looks at whether a signal came."""

OBJECT_STORE_BYTES = 75 << 20
"""The least that Ray takes: only events travel through it."""

LONGEST_FOLDER = 43
"""Characters of Ray's temporary folder: its sockets' names come on top, and 107 is what Linux allows."""

KILLED_SECONDS = 5.0
"""For killed processes to disappear."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The last one comes when a terminal is closed."""

INTERRUPTED = "Interrupted: everything was stopped. What was finished is kept."

SETTINGS = {
    # Without it Ray listens on all addresses, whatever node address is given.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    # Its monitor would kill a supervisor for what a unit did.
    "RAY_memory_monitor_refresh_ms": "0",
    # Its handler for SIGTERM would abort a driver that is told to stop while it starts.
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Ray's environment, read when it is imported and when it starts its processes; no argument of ray.init does the same."""


def run(tasks: Sequence[UnitTask], cluster: ClusterSpec, program: Program = UNIT) -> Generator[Event, None, None]:
    """Do the units on a Ray of our own; see base.Scheduler.

    A unit whose supervisor is lost goes on on another one; if that is lost too, its cells end as infra_error.
    """
    if not tasks:
        return
    slots = min(cluster.workers, len(tasks))
    with ExitStack() as stack:
        folder = stack.enter_context(_private_folder())
        interruption = stack.enter_context(_Interruption(folder))
        stack.enter_context(_no_process_left())
        # Before Ray, so that the two start side by side.
        servers = _ForkServers(folder, program, cluster.threads_per_worker)
        stack.callback(servers.close)
        interruption.check()
        stack.enter_context(_ray_started(folder / "ray", slots))
        interruption.check()
        yield from _Dispatch(tasks, slots, program, servers, interruption).events()


class Supervisor:
    """The Ray actor of a slot."""

    def __init__(self, address: str, scratch: str, function: str) -> None:
        self._sandbox = Sandbox(address, Path(scratch), function)

    def run(self, task: bytes) -> Iterator[bytes]:
        """Do a unit, JSON in and JSON out."""
        for event in self._sandbox.run(msgspec.json.decode(task, type=UnitTask)):
            yield msgspec.json.encode(event)


@dataclass(kw_only=True)
class _Flight:
    """A unit on a supervisor."""

    task: UnitTask
    """Its `done` grows with every cell that is decided."""
    attempt: int = 1
    stage: Stage = Stage.BUILD

    def see(self, event: Event) -> Event:
        """Follow an event, and say in a result which attempt it is of."""
        match event:
            case StageStarted(stage=stage):
                self.stage = stage
                return event
            case CellFinished(result=result):
                self.task = without(self.task, [result.cell])
                return CellFinished(result=replace(result, attempts=self.attempt))


class _ForkServers:
    """The fork server that all supervisors share, and its successor if it is lost."""

    def __init__(self, folder: Path, program: Program, threads: int) -> None:
        self.folder = folder
        self._program, self._threads = program, threads
        self._count = 0
        self._server = self._start()

    def address(self) -> str:
        """Of a server that runs.

        Raises:
            EnvironmentRefusedError: the last one ended before it could fork; so would the next.
        """
        if not self._server.running:
            if not self._server.loaded:
                raise EnvironmentRefusedError(f"What every unit needs cannot be imported: {self._server.last_words}")
            self._server = self._start()
        return self._server.address

    def close(self) -> None:
        self._server.close()

    def _start(self) -> ForkServer:
        self._count += 1
        folder = self.folder / f"forkserver{self._count}"
        folder.mkdir()
        return ForkServer(folder, self._program.preload, self._threads)


class _Dispatch:
    """Hands units to idle supervisors and passes on what they report."""

    def __init__(
        self,
        tasks: Sequence[UnitTask],
        slots: int,
        program: Program,
        servers: _ForkServers,
        interruption: _Interruption,
    ) -> None:
        self._queue = deque(_Flight(task=task) for task in tasks)
        self._program = program
        self._servers = servers
        self._scratch = Path(tempfile.mkdtemp(dir=servers.folder, prefix="scratch-"))
        self._interruption = interruption
        self._idle = [self._new_supervisor() for _ in range(slots)]
        self._flying: dict[Any, tuple[Any, _Flight]] = {}
        """The stream of a unit's events → its supervisor and the unit."""

    def events(self) -> Iterator[Event]:
        import ray

        while self._queue or self._flying:
            while self._queue and self._idle:
                self._launch(self._idle.pop(0), self._queue.popleft())
            ready, _ = ray.wait(list(self._flying), timeout=WAIT_SECONDS)
            self._interruption.check()
            for stream in ready:
                yield from self._next(stream)

    def _new_supervisor(self) -> Any:
        import ray

        actor = ray.remote(Supervisor).options(num_cpus=1, max_restarts=0, max_task_retries=0)
        return actor.remote(self._servers.address(), str(self._scratch), self._program.function)

    def _launch(self, supervisor: Any, flight: _Flight) -> None:
        stream = supervisor.run.options(num_returns="streaming").remote(msgspec.json.encode(flight.task))
        self._flying[stream] = supervisor, flight

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
            ray.kill(supervisor)
            yield from self._lost(flight, error)
        else:
            yield flight.see(event)

    def _lost(self, flight: _Flight, error: Exception) -> Iterator[Event]:
        supervisor = self._new_supervisor()
        if flight.attempt < ATTEMPTS:
            # Not on an idle one: whatever took the first may have taken that too.
            self._launch(supervisor, _Flight(task=flight.task, attempt=flight.attempt + 1))
            return
        self._idle.append(supervisor)
        for cell in waiting(flight.task):
            yield flight.see(CellFinished(result=_lost_cell(cell, flight.stage, error)))


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
def _private_folder() -> Iterator[Path]:
    """A temporary folder of mode 0700 with a short path, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="export-", ignore_cleanup_errors=True) as name:
        if len(name) > LONGEST_FOLDER - len("/ray"):
            raise EnvironmentRefusedError(
                f"The temporary folder {tempfile.gettempdir()} has too long a path for sockets: set TMPDIR to a shorter one."
            )
        yield Path(name)


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


@contextmanager
def _ray_started(folder: Path, slots: int) -> Iterator[None]:
    with _environment():
        import ray

        try:
            _init_ray(folder, slots)
            yield
        finally:
            ray.shutdown()


def _init_ray(folder: Path, slots: int) -> None:
    import ray

    try:
        with _handlers_kept():
            ray.init(
                address="local",
                num_cpus=slots,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(folder),
            )
    except Exception as error:
        raise EnvironmentRefusedError(f"Ray does not start: {error}") from error


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """ray.init would make SIGTERM a SystemExit of its own, and does not survive one that comes while it starts."""
    take = signal.signal
    signal.signal = lambda number, _: signal.getsignal(number)  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = take


@contextmanager
def _environment() -> Iterator[None]:
    """Ray's settings in our environment, from where its processes inherit them; as it was at the end."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        del os.environ[name]
    # Supervisors import this project from where we did.
    path = os.pathsep.join(filter(None, sys.path))
    os.environ.update(SETTINGS, RAY_AUTH_TOKEN=_token(), PYTHONPATH=path)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@functools.cache
def _token() -> str:
    """One per process, since Ray reads it once; without one Ray writes a file into the home folder."""
    return secrets.token_hex(32)


def _lost_cell(cell: str, stage: Stage, error: Exception) -> CellResult:
    # What a supervisor raised, Ray wraps.
    cause = getattr(error, "cause", error)
    message = f"its supervisor was lost {ATTEMPTS} times: {str(cause).strip().splitlines()[0]}"
    return CellResult(
        cell=cell,
        status=Status.INFRA_ERROR,
        reason=f"{stage}: {message}",
        error=CellError(stage=stage, kind="supervisor_lost", message=message, traceback=str(error)),
    )
