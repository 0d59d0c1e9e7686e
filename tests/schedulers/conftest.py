"""The same units on both schedulers, once per session, since Ray takes seconds to start."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from orchestrator.result import CellFinished, CellResult, Event, Stage, StageStarted
from orchestrator.schedulers.base import Program, load
from orchestrator.spec import ClusterSpec, UnitTask
from tests.misbehaving import units
from tests.misbehaving.family import living

PROGRAM = Program(function=units.FUNCTION, preload=())


@dataclass
class Run:
    """What a scheduler yielded."""

    store: Path
    events: list[Event] = field(default_factory=list)

    @property
    def results(self) -> dict[str, CellResult]:
        finished = [event.result for event in self.events if isinstance(event, CellFinished)]
        assert len({result.cell for result in finished}) == len(finished), "a cell has two verdicts"
        return {result.cell: result for result in finished}

    def of(self, unit: str) -> list[Event]:
        """The events of a unit, which has its name before its cells' names."""
        return [
            event
            for event in self.events
            if (event.unit == unit if isinstance(event, StageStarted) else event.result.cell.startswith(f"{unit}-"))
        ]


@dataclass
class RayRun(Run):
    """What was seen of the machine besides."""

    listening: set[str] = field(default_factory=set)
    """Addresses with a listening socket, of all our processes."""
    left: list[psutil.Process] = field(default_factory=list)
    temporary: list[Path] = field(default_factory=list)
    home: list[Path] = field(default_factory=list)
    printed: str = ""


def shared_tasks(store: Path) -> list[UnitTask]:
    """Units that end in the same way with and without isolation."""
    return [
        units.make_task(store, "good-a", "good-b", name="good"),
        units.make_task(store, "exits-a", "exits-b", deed="sys_exit", when="verify exits-a", name="exits"),
        units.make_task(store, "raises-a", "raises-b", deed="raise_error", when="capture", name="raises"),
    ]


def isolated_tasks(store: Path) -> list[UnitTask]:
    """Units that need isolation; the last one loses the fork server and then its supervisor while it waits."""
    return [
        units.make_task(store, "crashes-a", "crashes-b", deed="segfault", when="verify crashes-a", name="crashes"),
        units.make_task(store, "strays-a", deed="leave_a_daemon", when="capture", name="strays"),
        units.make_task(store, "loses-a", "loses-b", "loses-c", deed="wait_for_leave", when="emit", name="loses"),
    ]


@pytest.fixture(scope="session")
def inline_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    store = tmp_path_factory.mktemp("inline")
    cluster = ClusterSpec(kind="inline", workers=1, threads_per_worker=1)
    return Run(store=store, events=list(load("inline")(shared_tasks(store), cluster, PROGRAM)))


@pytest.fixture(scope="session")
def ray_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayRun]:
    run = RayRun(store=tmp_path_factory.mktemp("ray"))
    home = tmp_path_factory.mktemp("home")
    leave = tmp_path_factory.mktemp("leave") / "leave"
    tasks = shared_tasks(run.store) + isolated_tasks(run.store)
    # Short, for the sockets.
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", temporary)
        patch.setenv("HOME", str(home))
        patch.setenv("LEAVE", str(leave))
        seen: set[psutil.Process] = set()
        losses = losing(leave)
        for event in load("local")(tasks, ClusterSpec(kind="local", workers=2, threads_per_worker=1), PROGRAM):
            run.events.append(event)
            ours = psutil.Process().children(recursive=True)
            seen.update(ours)
            if isinstance(event, StageStarted) and event.stage is Stage.BUILD:
                run.listening |= listening([psutil.Process(), *ours])
            # A fork server is shared: what it takes along must be the one unit that waits.
            if only_one_waits(run, tasks):
                next(losses)(ours)
        run.left = living(seen)
        run.temporary, run.home = list(Path(temporary).iterdir()), list(home.iterdir())
    yield run


def losing(leave: Path) -> Iterator[Callable[[list[psutil.Process]], None]]:
    """What is done to the family when the unit `loses` begins to emit a, b, b again and c."""
    yield lambda _: leave.touch()
    yield lambda family: kill(family, "orchestrator.forkserver")
    yield lambda _: leave.touch()
    yield lambda family: kill(family, "ray::Supervisor")


def only_one_waits(run: Run, tasks: list[UnitTask]) -> bool:
    """Whether `loses` has just begun to emit, or the last of the others has ended while it does."""
    others = {cell.id for task in tasks for cell in task.unit.cells if task.unit.id != "loses"}
    last = [event for event in run.of("loses") if isinstance(event, StageStarted)][-1:]
    emits = bool(last) and last[0].stage is Stage.EMIT
    ended = isinstance(run.events[-1], CellFinished) and run.events[-1].result.cell in others
    return emits and others <= run.results.keys() and (run.events[-1] is last[0] or ended)


def listening(processes: list[psutil.Process]) -> set[str]:
    addresses = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            connections = process.net_connections("inet")
            addresses |= {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}
    return addresses


def kill(processes: list[psutil.Process], command: str) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if command in " ".join(process.cmdline()):
                process.kill()
