from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec
import psutil
import pytest

from orchestrator.result import CellFinished, CellResult, Event, Stage, StageStarted
from orchestrator.store.blobs import BlobStore
from tests.misbehaving.family import living, wait_for_the_end_of

ROOT = Path(__file__).parents[2]
OURS = ("ray::Keeper", "ray::Supervisor", "orchestrator.forkserver")
FIRST, SECOND = {"x-1", "y-1"}, {"x-2", "y-2"}


@dataclass
class Cluster:
    """Two nodes in processes of their own, with a token."""

    address: str
    folder: Path
    stdin: IO[str]
    environment: dict[str, str]

    def kill_b(self) -> None:
        self.stdin.write("kill\n")
        self.stdin.flush()

    def leave(self, node: str) -> None:
        """Let the unit go on that waits on a node."""
        (self.folder / f"leave-{node}").touch()

    @contextmanager
    def driver(self, *arguments: str, address: str = "", **environment: str) -> Iterator[subprocess.Popen[str]]:
        store, *lies = arguments
        command = [sys.executable, "-m", "tests.misbehaving.connected", address or self.address, store, *lies]
        everything = self.environment | {"PYTHONPATH": str(ROOT)} | environment
        with subprocess.Popen(command, cwd=self.folder, env=everything, stdout=subprocess.PIPE, text=True) as driver:
            try:
                yield driver
            finally:
                driver.kill()

    def refusal(self, *arguments: str, address: str = "", **environment: str) -> str:
        """What a run that is refused says."""
        with self.driver(*arguments, address=address, **environment) as driver:
            output, _ = driver.communicate()
        assert driver.returncode == 3, output
        return output

    def ours(self) -> list[psutil.Process]:
        """What schedulers have started on the nodes."""
        found = []
        for process in living(psutil.process_iter()):
            try:
                if any(word in " ".join(process.cmdline()) for word in OURS):
                    found += [process] if process.environ().get("TMPDIR", "").startswith(str(self.folder)) else []
            except psutil.Error:
                continue
        return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    # A short path, for the sockets.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        command = [sys.executable, "-m", "tests.misbehaving.cluster", name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes) as process:
            address = process.stdout.readline().strip()
            yield Cluster(address=address, folder=Path(name), stdin=process.stdin, environment=environment)


@dataclass
class Disturbed:
    """A run on both nodes, of which b is killed when every unit has a cell that is done and one that is not."""

    store: Path
    events: list[Event] = field(default_factory=list)
    killed: bool = False
    left: list[psutil.Process] = field(default_factory=list)

    @property
    def results(self) -> dict[str, CellResult]:
        finished = [event.result for event in self.events if isinstance(event, CellFinished)]
        assert len({result.cell for result in finished}) == len(finished), "a cell has two verdicts"
        return {result.cell: result for result in finished}

    @property
    def emitted(self) -> list[str]:
        """Cells whose export began, as often as it did."""
        stages = [event for event in self.events if isinstance(event, StageStarted) and event.stage is Stage.EMIT]
        return [str(event.cell) for event in stages]

    def log(self, cell: str, folder: Path) -> str:
        BlobStore(self.store).get(self.results[cell].attachments[0].sha256, folder / cell)
        return (folder / cell).read_text()

    def see(self, event: Event, cluster: Cluster) -> None:
        self.events.append(event)
        if not (isinstance(event, StageStarted) and event.stage is Stage.EMIT):
            return
        if event.cell == "gpu-1":
            cluster.leave("b")
        elif event.cell in FIRST and {*self.emitted} >= FIRST:
            cluster.leave("a")
            cluster.leave("b")
        elif event.cell in SECOND and {*self.emitted} >= SECOND and not self.killed:
            self.killed = True
            cluster.kill_b()
            cluster.leave("a")
        elif self.killed:
            cluster.leave("a")


@pytest.fixture(scope="module")
def disturbed(cluster: Cluster) -> Disturbed:
    store = cluster.folder / "store"
    run = Disturbed(store=store)
    with cluster.driver(str(store)) as driver:
        for line in driver.stdout:
            # Ray itself prints there when a node dies.
            if line.startswith('{"type"'):
                run.see(msgspec.json.decode(line, type=Event), cluster)
    assert driver.returncode == 0
    run.left = cluster.ours()
    return run


def test_nodes_with_other_tools_are_refused_side_by_side(cluster: Cluster) -> None:
    title, *lines = cluster.refusal(str(cluster.folder / "store"), "other_onnx").splitlines()
    assert title == "Not every node of the cluster can take part:"
    assert lines
    assert all(line.startswith("node 127.0.0.1 (") and line.endswith(" there, 0.9 here") for line in lines)
    assert all(": onnx 1." in line for line in lines)


def test_a_store_that_the_nodes_do_not_share_is_refused(cluster: Cluster) -> None:
    # Each process has a folder of its own there.
    assert "the store /proc/self/cwd/alone is not there; it must be a folder that all machines share" in cluster.refusal(
        "/proc/self/cwd/alone"
    )
    assert list((cluster.folder / "alone").iterdir()) == []


def test_an_address_where_nothing_answers_is_refused(cluster: Cluster) -> None:
    assert cluster.refusal("store", address="127.0.0.1:1") == (
        "Nothing answers at cluster.address=127.0.0.1:1: Connection refused. Is the cluster up?\n"
    )


def test_a_wrong_token_is_refused(cluster: Cluster) -> None:
    said = cluster.refusal("store", RAY_AUTH_TOKEN="0" * 64)
    assert said.endswith(". Is the token the one that it was started with?\n")


def test_units_run_on_both_nodes_and_those_that_need_a_gpu_where_one_is(disturbed: Disturbed, tmp_path: Path) -> None:
    assert "node b gpus '0'\n" in disturbed.log("gpu-1", tmp_path)
    assert sorted("node a" in disturbed.log(cell, tmp_path) for cell in FIRST) == [False, True]


def test_what_a_lost_node_had_not_finished_is_done_on_the_other_and_nothing_is_done_twice(
    disturbed: Disturbed, tmp_path: Path
) -> None:
    lost, kept = sorted("xy", key=lambda unit: "node a" in disturbed.log(f"{unit}-1", tmp_path))
    results = disturbed.results
    assert {result.status.value for result in results.values()} == {"passed"}
    assert [results[f"{kept}-{number}"].attempts for number in "123"] == [1, 1, 1]
    assert [results[f"{lost}-{number}"].attempts for number in "123"] == [1, 2, 2]
    assert {cell: disturbed.emitted.count(cell) for cell in results if disturbed.emitted.count(cell) > 1} == {f"{lost}-2": 2}
    for cell in (f"{lost}-2", f"{lost}-3"):
        assert "node a" in disturbed.log(cell, tmp_path)
        (finding,) = results[cell].findings
        assert finding.kind == "node_lost"
        assert " was lost before this cell had a verdict; it was given to node 127.0.0.1 (" in finding.message
    assert results[f"{lost}-1"].findings == ()


def test_the_cluster_is_left_as_it_was(cluster: Cluster, disturbed: Disturbed) -> None:
    wait_for_the_end_of(disturbed.left)
    assert [list((cluster.folder / node).iterdir()) for node in "ab"] == [[], []]
    assert list(disturbed.store.glob(".probe*")) == []


def test_an_interrupted_run_leaves_it_so_too_and_a_gpu_that_no_node_has_is_told(cluster: Cluster, disturbed: Disturbed) -> None:
    with cluster.driver(str(disturbed.store)) as driver:
        skipped = msgspec.json.decode(driver.stdout.readline(), type=Event)
        assert (skipped.result.status.value, skipped.result.reason) == ("skipped", "no node of the cluster has a GPU")
        while '"emit"' not in driver.stdout.readline():
            pass
        # Keeper, fork server, supervisor and the unit.
        assert len(cluster.ours()) == 4
        driver.send_signal(signal.SIGTERM)
        output, _ = driver.communicate(timeout=20)
    assert driver.returncode == 130
    assert output == "Interrupted: everything was stopped. What was finished is kept.\n"
    wait_for_the_end_of(cluster.ours())
    assert list((cluster.folder / "a").iterdir()) == []
