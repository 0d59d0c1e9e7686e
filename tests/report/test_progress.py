from __future__ import annotations

from dataclasses import replace

from orchestrator.report.progress import Done, Failure, Progress, Work
from orchestrator.result import CellFinished, Stage, StageStarted, Status
from orchestrator.spec import KnownIssue
from tests import synthetic

KNOWN = KnownIssue(cells="b-*", status=Status.EXPORT_FAILED, reason="known")
PLAN = synthetic.plan(
    replace(synthetic.unit("a", opsets=(18, 20)), estimate=20.0),
    replace(synthetic.unit("b", known_issues=(KNOWN,)), estimate=10.0),
    synthetic.unit("c", targets=(synthetic.CUDA,), skip="no node has a CUDA device"),
)
A18, A20, B = (cell.id for cell in PLAN.cells[:3])
UNIT = PLAN.units[0].id


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def progress() -> tuple[Progress, Clock]:
    clock = Clock()
    return Progress(PLAN, clock), clock


def finished(cell: str, status: Status = Status.PASSED) -> CellFinished:
    return CellFinished(result=synthetic.result(cell, status))


def test_what_the_plan_skips_is_not_to_be_done() -> None:
    made, _ = progress()
    assert (made.total, made.units) == (3, 2)


def test_finished_cells_are_counted_by_status_and_whether_that_was_expected() -> None:
    made, _ = progress()
    made.on_event(finished(B, Status.EXPORT_FAILED))
    made.on_event(finished(A20, Status.CRASHED))
    made.on_event(finished(A18))
    assert made.counts == {(Status.EXPORT_FAILED, True): 1, (Status.CRASHED, False): 1, (Status.PASSED, True): 1}
    assert list(made.done) == [B, A20, A18]
    assert made.done[B] == Done(Status.EXPORT_FAILED, True, 9.95)
    assert made.unexpected == [A20]
    assert made.failure == Failure(A20, Status.CRASHED, "emit: the process was killed by SIGSEGV")


def test_a_unit_works_for_all_its_cells_or_for_one() -> None:
    made, clock = progress()
    made.on_event(StageStarted(unit=UNIT, cell=None, stage=Stage.CAPTURE))
    assert made.work_on(A18) == made.work_on(A20) == Work(None, Stage.CAPTURE, 100.0)
    assert made.work_on(B) is None
    clock.now = 102.5
    made.on_event(StageStarted(unit=UNIT, cell=A18, stage=Stage.EMIT))
    assert made.work_on(A18) == Work(A18, Stage.EMIT, 102.5)
    assert made.work_on(A20) is None


def test_a_unit_runs_until_its_last_cell_has_ended_and_is_not_heard_of_again() -> None:
    made, _ = progress()
    made.on_event(StageStarted(unit=UNIT, cell=None, stage=Stage.CAPTURE))
    made.on_event(finished(A18))
    assert list(made.running) == [UNIT]
    made.on_event(finished(A20))
    assert made.running == {}
    made.on_event(StageStarted(unit=UNIT, cell=None, stage=Stage.BUILD))
    assert made.running == {}


def test_time_goes_by_the_clock_that_is_given() -> None:
    made, clock = progress()
    assert (made.elapsed, made.rest) == (0.0, 30.0)
    made.on_event(StageStarted(unit=UNIT, cell=None, stage=Stage.CAPTURE))
    clock.now = 105.0
    assert (made.elapsed, made.rest) == (5.0, 25.0)
    assert made.seconds_at(made.running[UNIT]) == 5.0
