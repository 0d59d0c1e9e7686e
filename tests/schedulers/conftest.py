"""The same units on both schedulers, once per session, since Ray takes seconds to start."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
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
    """Units that need isolation; the last one loses the fork server and then its supervisor while it lingers."""
    return [
        units.make_task(store, "crashes-a", "crashes-b", deed="segfault", when="verify crashes-a", name="crashes"),
        units.make_task(store, "strays-a", deed="leave_a_daemon", when="capture", name="strays"),
        units.make_task(store, "loses-a", "loses-b", "loses-c", deed="linger", when="emit", name="loses"),
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
    tasks = shared_tasks(run.store) + isolated_tasks(run.store)
    # Short, for the sockets.
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", temporary)
        patch.setenv("HOME", str(home))
        seen: set[psutil.Process] = set()
        to_lose = {"loses-b": "orchestrator.forkserver", "loses-c": "ray::Supervisor"}
        for event in load("local")(tasks, ClusterSpec(kind="local", workers=2, threads_per_worker=1), PROGRAM):
            run.events.append(event)
            ours = psutil.Process().children(recursive=True)
            seen.update(ours)
            if isinstance(event, StageStarted) and event.stage is Stage.BUILD:
                run.listening |= listening([psutil.Process(), *ours])
            if isinstance(event, StageStarted) and event.stage is Stage.EMIT and event.cell in to_lose:
                kill(ours, to_lose.pop(event.cell))
        run.left = living(seen)
        run.temporary, run.home = list(Path(temporary).iterdir()), list(home.iterdir())
    yield run


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
