from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.attribution import Attribution, Death, waiting, without
from orchestrator.errors import StorageError
from orchestrator.result import CellFinished, CellResult, Event, Stage, StageStarted, Status
from orchestrator.spec import Limits, UnitTask
from orchestrator.store.blobs import BlobStore
from tests.misbehaving.units import make_task

KILLED = Death(status=Status.CRASHED, kind="signal", message="the process was killed by SIGSEGV")


class Attempt:
    """Plays an attempt: what is printed goes to the log, events are seen with the log's length."""

    def __init__(self, tmp_path: Path, *cells: str, log_limit: int = 1000, done: Sequence[str] = ()) -> None:
        task = make_task(tmp_path / "store", *cells, limits=Limits(seconds=1, memory=1, log=log_limit))
        self.task: UnitTask = without(task, done)
        self.log = tmp_path / "output.log"
        self.log.touch()
        self.attribution = Attribution(self.task, self.log)
        self.store = tmp_path / "store"
        self.seen: list[Event] = []

    def print(self, text: str) -> Attempt:
        with self.log.open("a") as log:
            log.write(text)
        return self

    @property
    def length(self) -> int:
        return self.log.stat().st_size

    def start(self, stage: Stage, cell: str | None = None) -> Attempt:
        self.seen += self.attribution.see(StageStarted(unit="unit", cell=cell, stage=stage), self.length)
        return self

    def finish(self, cell: str) -> Attempt:
        result = CellResult(cell=cell, status=Status.PASSED, reason="")
        self.seen += self.attribution.see(CellFinished(result=result), self.length)
        return self

    def die(self) -> Attempt:
        self.seen += self.attribution.died(KILLED, self.length)
        return self

    def end(self, *strays: str) -> Attempt:
        self.seen += self.attribution.ended(strays)
        return self

    def results(self) -> dict[str, CellResult]:
        return {event.result.cell: event.result for event in self.seen if isinstance(event, CellFinished)}

    def statuses(self) -> dict[str, str]:
        return {cell: result.status.value for cell, result in self.results().items()}

    def export_log(self, cell: str) -> str:
        (reference,) = self.results()[cell].attachments
        assert reference.name == "export.log"
        BlobStore(self.store).get(reference.sha256, self.log.with_name(cell))
        text = self.log.with_name(cell).read_text()
        assert len(text) == reference.bytes
        return text


def test_a_death_in_a_shared_stage_costs_all_cells_without_a_verdict(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, "a", "b", "c", done=["c"]).start(Stage.CAPTURE).die()
    assert attempt.statuses() == {"a": "crashed", "b": "crashed"}
    assert attempt.results()["a"].reason == "capture: the process was killed by SIGSEGV"


def test_a_death_in_a_cells_stage_costs_that_cell(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, "a", "b").start(Stage.BUILD).start(Stage.VERIFY, "a").die()
    assert attempt.statuses() == {"a": "crashed"}
    assert attempt.attribution.decided == ["a"]
    assert attempt.attribution.undecided == ("b",)


def test_a_death_before_the_first_event_is_one_in_build(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, "a").die()
    error = attempt.results()["a"].error
    assert error is not None
    assert (error.stage, error.kind) == (Stage.BUILD, "signal")


def test_a_death_between_two_cells_is_noted_and_charged_to_nobody(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, "a", "b").start(Stage.VERIFY, "a").finish("a").die()
    assert attempt.statuses() == {"a": "passed"}
    assert [finding.kind for finding in attempt.results()["a"].findings] == ["unclean_end"]
    assert attempt.attribution.undecided == ("b",)


def test_a_verdict_comes_out_with_the_next_sign_of_life(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, "a", "b").start(Stage.VERIFY, "a").finish("a")
    assert attempt.statuses() == {}
    assert attempt.start(Stage.VERIFY, "b").statuses() == {"a": "passed"}


def test_strays_are_noted_in_the_last_verdict(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, "a", "b").finish("a").finish("b").end("the thread 'x'")
    assert [len(result.findings) for result in attempt.results().values()] == [0, 1]
    assert attempt.results()["b"].findings[0].message == "the unit left the thread 'x' running"


def test_a_unit_that_ends_without_a_verdict_for_a_cell_has_crashed(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, "a", "b").start(Stage.VERIFY, "a").finish("a").end()
    assert attempt.statuses() == {"a": "passed", "b": "crashed"}


def test_a_cells_log_is_what_was_printed_for_all_and_for_it(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, "a", "b").print("import ").start(Stage.BUILD).print("build ")
    attempt.start(Stage.EMIT, "a").print("emit a ").start(Stage.EMIT, "b").print("emit b ")
    attempt.start(Stage.VERIFY, "a").print("verify a").finish("a").print("between ")
    attempt.start(Stage.VERIFY, "b").print("died").die()
    assert attempt.export_log("a") == "import build emit a verify a"
    assert attempt.export_log("b") == "import build emit b between died"


def test_a_cells_log_is_cut_at_its_limit_and_the_error_has_its_end(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, "a", log_limit=10).start(Stage.BUILD).print("build ").start(Stage.EMIT, "a").print("x" * 9000)
    attempt.print("last words").die()
    error = attempt.results()["a"].error
    assert attempt.export_log("a") == "build xxxx"
    assert error is not None
    assert error.traceback == "x" * 4086 + "last words"


def test_how_much_log_a_cell_has_leaves_out_the_other_cells(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, "a", "b").start(Stage.BUILD).print("12").start(Stage.EMIT, "a").print("3456").finish("a")
    attempt.start(Stage.EMIT, "b").print("789")
    assert attempt.attribution.cell_log_bytes(attempt.length) == 5


def test_a_dead_cell_has_the_seconds_of_its_stages(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, "a", "b").start(Stage.BUILD).start(Stage.EMIT, "b").start(Stage.EMIT, "a").die()
    durations = attempt.results()["a"].durations
    assert list(durations) == ["build", "emit", "total"]
    assert durations["total"] == pytest.approx(durations["build"] + durations["emit"])


def test_a_log_that_cannot_be_kept_makes_the_cell_an_infra_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def put(_store: BlobStore, _data: bytes) -> tuple[str, int]:
        raise StorageError("disk_full", "The disk is full.\nFree some space.")

    monkeypatch.setattr(BlobStore, "put_bytes", put)
    result = Attempt(tmp_path, "a").start(Stage.VERIFY, "a").finish("a").end().results()["a"]
    assert result.error is not None
    assert (result.status, result.error.kind, result.reason) == (Status.INFRA_ERROR, "disk_full", "verify: The disk is full.")


def test_what_is_waiting_is_neither_skipped_nor_done(tmp_path: Path) -> None:
    task = make_task(tmp_path, "a", "b")
    assert waiting(task) == ("a", "b")
    assert waiting(without(task, ["a"])) == ("b",)


def test_a_cell_has_the_peak_of_the_stages_that_worked_for_it(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, "a", "b").start(Stage.BUILD)
    attempt.attribution.see_memory(5)
    attempt.start(Stage.EMIT, "a")
    for held in (7, 9, 8):
        attempt.attribution.see_memory(held)
    attempt.finish("a").start(Stage.EMIT, "b").finish("b").end()
    assert {cell: result.peak_memory for cell, result in attempt.results().items()} == {"a": 9, "b": 5}


def test_without_anybody_who_looks_the_peak_is_unknown(tmp_path: Path) -> None:
    assert Attempt(tmp_path, "a").start(Stage.EMIT, "a").finish("a").end().results()["a"].peak_memory is None
