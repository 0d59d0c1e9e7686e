from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from orchestrator.errors import StorageError
from orchestrator.forkserver import ForkedChild, ForkServer, ForkServerError
from orchestrator.result import CellFinished, CellResult, Event, StageStarted
from orchestrator.sandbox import Sandbox
from orchestrator.spec import UnitTask
from orchestrator.store.blobs import BlobStore
from tests.misbehaving import units


class Bench:
    """A sandbox with its fork server and a store."""

    def __init__(self, folder: Path, server: ForkServer) -> None:
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.store = folder / "store"
        self.server = server

    def sandbox(self, function: str = units.FUNCTION) -> Sandbox:
        return Sandbox(self.server.address, self.scratch, function)

    def events(self, *cells: str, deed: str, when: str, **limits: float) -> list[Event]:
        task = units.make_task(self.store, *cells, deed=deed, when=when, limits=replace(units.LIMITS, **limits))
        return list(self.sandbox().run(task))

    def results(self, *cells: str, deed: str = "nothing", when: str = "build", **limits: float) -> dict[str, CellResult]:
        return results_of(self.events(*cells, deed=deed, when=when, **limits))

    def log(self, result: CellResult) -> str:
        (reference,) = result.attachments
        copy = self.store / "copy"
        BlobStore(self.store).get(reference.sha256, copy)
        return copy.read_text()


def results_of(events: list[Event]) -> dict[str, CellResult]:
    finished = [event.result for event in events if isinstance(event, CellFinished)]
    assert len({result.cell for result in finished}) == len(finished), "a cell has two verdicts"
    return {result.cell: result for result in finished}


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as name, ForkServer(Path(name), ("tests.misbehaving.units",), 1) as server:
        yield Bench(Path(name), server)


@pytest.fixture(autouse=True)
def nothing_left(bench: Bench) -> Iterator[None]:
    yield
    (server,) = psutil.Process().children()
    assert server.children(recursive=True) == []
    assert list(bench.scratch.iterdir()) == []


def test_a_good_unit_passes_with_its_stages_and_its_output(bench: Bench) -> None:
    events = bench.events("a", deed="nothing", when="build")
    assert [str(event.stage) for event in events if isinstance(event, StageStarted)] == ["build", "capture", "emit", "verify"]
    result = results_of(events)["a"]
    assert (result.status, result.findings) == ("passed", ())
    assert bench.log(result) == "build for all\ncapture for all\nemit a\nverify a\n"


@pytest.mark.parametrize(
    ("deed", "limits", "status", "kind", "reason"),
    [
        ("segfault", {}, "crashed", "signal", "the process was killed by SIGSEGV"),
        ("abort", {}, "crashed", "signal", "the process was killed by SIGABRT"),
        (
            "get_killed",
            {},
            "crashed",
            "signal",
            "the process was killed by SIGKILL, not by us: perhaps the kernel, out of memory",
        ),
        ("exit_zero", {}, "crashed", "exit_code", "the process ended itself with exit code 0"),
        ("exit_seven", {}, "crashed", "exit_code", "the process ended itself with exit code 7"),
        ("sys_exit", {}, "crashed", "exit_code", "the process ended itself with exit code 3"),
        ("flood", {}, "crashed", "log_limit", "the limit is 0.2 MiB"),
        ("sleep", {"seconds": 0.6}, "timeout", "deadline", "passed its deadline of 0.6 s"),
        ("sleep_in_native_code", {"seconds": 0.6}, "timeout", "deadline", "passed its deadline of 0.6 s"),
        ("close_everything", {"seconds": 0.6}, "timeout", "deadline", "passed its deadline of 0.6 s"),
        ("allocate", {}, "oom", "memory", "the limit is 400.0 MiB"),
        ("allocate_in_a_child", {}, "oom", "memory", "the limit is 400.0 MiB"),
    ],
)
def test_a_bad_cell_ends_as_it_should_and_the_next_one_passes(
    bench: Bench, deed: str, limits: dict[str, float], status: str, kind: str, reason: str
) -> None:
    results = bench.results("bad", "good", deed=deed, when="verify bad", **limits)
    bad = results["bad"]
    assert bad.error is not None
    assert (bad.status, bad.error.kind, bad.error.stage) == (status, kind, "verify")
    assert bad.reason.startswith("verify: ")
    assert bad.reason.endswith(reason)
    assert bench.log(bad).startswith("build for all\ncapture for all\nemit bad\nverify bad\n")
    assert (results["good"].status, results["good"].findings) == ("passed", ())


@pytest.mark.parametrize(("deed", "status"), [("segfault", "crashed"), ("sleep", "timeout"), ("exit_zero", "crashed")])
def test_a_death_in_a_stage_of_all_cells_costs_them_all(bench: Bench, deed: str, status: str) -> None:
    results = bench.results("a", "b", deed=deed, when="capture", seconds=0.6)
    assert {cell: result.status for cell, result in results.items()} == {"a": status, "b": status}


def test_a_finished_cell_keeps_its_verdict(bench: Bench) -> None:
    results = bench.results("a", "b", "c", deed="segfault", when="emit b")
    assert {cell: result.status.value for cell, result in results.items()} == {"a": "passed", "b": "crashed", "c": "passed"}


def test_the_deadline_is_each_stages_own(bench: Bench) -> None:
    assert bench.results("a", "b", deed="linger", when="emit", seconds=0.9)["b"].status == "passed"


def test_a_hang_is_told_with_the_line_where_it_is(bench: Bench) -> None:
    error = bench.results("a", deed="sleep_in_native_code", when="capture", seconds=0.6)["a"].error
    assert error is not None
    assert "deeds.py" in error.traceback
    assert "in sleep_in_native_code" in error.traceback


def test_a_crash_is_told_with_its_last_words(bench: Bench) -> None:
    error = bench.results("a", deed="raise_error", when="build")["a"].error
    assert error is not None
    assert error.kind == "exit_code"
    assert error.traceback.endswith("RuntimeError: on purpose\n")


@pytest.mark.parametrize(
    ("deed", "when", "stray"),
    [
        ("leave_a_thread", "verify a", "the thread 'left-behind'"),
        ("leave_a_child", "capture", "the process "),
        ("leave_a_daemon", "build", "the process "),
    ],
)
def test_what_a_good_unit_leaves_running_is_a_finding_and_is_killed(bench: Bench, deed: str, when: str, stray: str) -> None:
    result = bench.results("a", deed=deed, when=when)["a"]
    assert result.status == "passed"
    (finding,) = result.findings
    assert finding.kind == "stray_process"
    assert stray in finding.message


def test_strays_of_one_name_are_one_finding(bench: Bench) -> None:
    (finding,) = bench.results("a", "b", deed="leave_a_thread", when="verify")["b"].findings
    assert finding.message == "the unit left the thread 'left-behind' (2 times) running"


def test_a_death_after_the_last_verdict_is_a_finding(bench: Bench) -> None:
    result = bench.results("a", deed="exit_seven", when="after a")["a"]
    assert result.status == "passed"
    assert [finding.kind for finding in result.findings] == ["unclean_end"]


def test_a_unit_that_forgets_a_cell_has_crashed_there(bench: Bench) -> None:
    sandbox = bench.sandbox("tests.misbehaving.units:forget")
    results = results_of(list(sandbox.run(units.make_task(bench.store, "a", "b"))))
    assert {cell: result.status.value for cell, result in results.items()} == {"a": "passed", "b": "crashed"}


def test_cells_that_are_done_or_skipped_are_left_alone(bench: Bench) -> None:
    task = units.make_task(bench.store, "a", "b", "c")
    a, b, c = task.unit.cells
    task = UnitTask(
        unit=replace(task.unit, cells=(a, replace(b, skip="no device"), c)), store=task.store, trust=(), threads=1, done=("a",)
    )
    assert results_of(list(bench.sandbox().run(task))).keys() == {"c"}


def test_closing_early_ends_the_child(bench: Bench) -> None:
    events = bench.sandbox().run(units.make_task(bench.store, "a", deed="leave_a_child", when="build"))
    next(events)
    events.close()


def test_a_scratch_folder_that_cannot_be_written_is_an_infra_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    result = bench.results("a")["a"]
    assert result.error is not None
    assert (result.status, result.error.kind) == ("infra_error", "disk_full")


def test_a_store_that_cannot_be_written_is_an_infra_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_store: BlobStore, _data: bytes) -> tuple[str, int]:
        raise StorageError("disk_full", "The disk is full.")

    monkeypatch.setattr(BlobStore, "put_bytes", refuse)
    assert {result.status for result in bench.results("a", "b").values()} == {"infra_error"}


def test_without_a_server_the_sandbox_says_so(bench: Bench, tmp_path: Path) -> None:
    sandbox = Sandbox(str(tmp_path / "forkserver.sock"), bench.scratch, units.FUNCTION)
    with pytest.raises(ForkServerError):
        list(sandbox.run(units.make_task(bench.store, "a")))


def test_a_child_that_is_buried_before_it_is_looked_at_still_has_its_verdict(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seen under load: the supervisor got the processor back when everything was over.
    receive = ForkedChild._receive

    def late(self: ForkedChild) -> int:
        number = receive(self)
        time.sleep(0.5)
        return number

    monkeypatch.setattr(ForkedChild, "_receive", late)
    result = bench.results("a", deed="exit_seven", when="build")["a"]
    assert (result.status, result.reason) == ("crashed", "build: the process ended itself with exit code 7")


def test_the_memory_that_was_held_is_on_record(bench: Bench) -> None:
    result = bench.results("a", deed="allocate", when="emit a")["a"]
    assert result.peak_memory is not None
    assert result.peak_memory > units.LIMITS.memory
