from __future__ import annotations

import pytest

from orchestrator.report import wording
from orchestrator.report.summary import Report, summarise
from orchestrator.result import Check, CheckStatus, Origin, Status
from orchestrator.store.ledger import CellMeasured, RunStatus
from tests import synthetic

CPU = "resnet50-dynamo-opset20-float32-cpu"


def one(status: Status, run: RunStatus = RunStatus.FINISHED) -> Report:
    return summarise(
        synthetic.plan(synthetic.unit()), synthetic.ledger(synthetic.result(CPU, status), end=synthetic.ended(run, 1))
    )


def test_the_headline_says_the_verdict() -> None:
    assert wording.headline(one(Status.PASSED)) == f"{CPU} passed"
    assert wording.headline(one(Status.CRASHED)) == f"{CPU} crashed"
    assert wording.headline(summarise(*synthetic.every_status())) == "7 of 14 cells did not end as expected"
    unit = synthetic.unit(opsets=(18, 20))
    good = summarise(synthetic.plan(unit), synthetic.ledger(*(synthetic.result(cell.id) for cell in unit.cells)))
    assert wording.headline(good) == "All 2 cells ended as expected"


@pytest.mark.parametrize(
    ("status", "start"),
    [
        (RunStatus.INTERRUPTED, "Interrupted"),
        (RunStatus.REFUSED, "Ended by the environment"),
        (RunStatus.RUNNING, "Not finished"),
    ],
)
def test_the_headline_of_a_run_without_an_end_counts_outcomes(status: RunStatus, start: str) -> None:
    plan, records = synthetic.every_status()
    records = [*records[:6], synthetic.ended(status, 130)]
    assert wording.headline(summarise(plan, records)) == f"{start}: 5 of 14 cells have an outcome"


def test_cells_that_an_interrupted_run_never_reached_are_no_failures() -> None:
    plan, records = synthetic.every_status()
    report = summarise(plan, [*records[:6], synthetic.ended(RunStatus.INTERRUPTED, 130)])
    assert wording.failures(report) == []


def test_a_note_is_made_once_for_all_its_cells() -> None:
    units = [synthetic.unit(name, targets=(synthetic.CUDA,), skip="no node has a CUDA device") for name in ("a", "b")]
    (note,) = wording.notes(summarise(synthetic.plan(*units), synthetic.ledger()))
    assert (note.kind, note.text) == ("skipped", "no node has a CUDA device")
    assert note.cells == ("a-dynamo-opset20-float32-cuda", "b-dynamo-opset20-float32-cuda")


def test_known_issues_met_and_gone_are_noted() -> None:
    kinds = [note.kind for note in wording.notes(summarise(*synthetic.every_status()))]
    assert kinds == ["no longer an issue", "known issue", "skipped"]


def test_problems_say_nothing_twice() -> None:
    rows = {cell.model: wording.problems(cell) for cell in summarise(*synthetic.every_status()).cells}
    assert rows["minilm"] == ["structure: the file is opset 18, asked for was 17"]
    assert rows["segfault"] == ["emit: the process was killed by SIGSEGV"]
    assert rows["gpt2"][1] == "the known issue has expired on 2026-01-01: attention mask"
    assert rows["resnet50"] == []


def test_every_failed_check_is_among_the_problems() -> None:
    failed = tuple(Check(id=name, status=CheckStatus.FAILED, detail=f"{name} is off") for name in ("parity", "shapes"))
    result = synthetic.result(CPU, Status.CHECK_FAILED, reason="parity: parity is off", checks=failed)
    (row,) = summarise(synthetic.plan(synthetic.unit()), synthetic.ledger(result)).cells
    assert wording.problems(row) == ["parity: parity is off", "shapes: shapes is off"]


def check(measured: float | None, threshold: float | None, status: CheckStatus = CheckStatus.PASSED) -> Check:
    return Check(id="parity", status=status, detail="", measured=measured, threshold=threshold)


@pytest.mark.parametrize(
    ("checks", "text"),
    [
        ([], ""),
        ([check(None, None)], ""),
        ([check(1e-6, 1e-5)], "1.0e-06 of 1.0e-05"),
        ([check(1e-6, 1e-5), check(2e-9, 1e-8)], "2.0e-09 of 1.0e-08"),
        ([check(0.0, 0.0)], "0 of 0"),
        ([check(0.0, 0.0), check(1e-9, 1e-5)], "1.0e-09 of 1.0e-05"),
        ([check(3.0, 0.0), check(9e-6, 1e-5)], "3.0e+00 of 0"),
        ([check(None, 1e-5, CheckStatus.FAILED), check(1.0, 1e-5)], "∞ of 1.0e-05"),
        ([check(None, 1e-5, CheckStatus.NOT_APPLICABLE), check(1e-6, 1e-5)], "1.0e-06 of 1.0e-05"),
    ],
)
def test_the_worst_error_is_the_one_nearest_to_or_furthest_over_its_bound(checks: list[Check], text: str) -> None:
    assert wording.error_and_bound(checks) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_449, "99.4 kB"),
        (99_600, "100 kB"),
        (999_499, "999 kB"),
        (999_600, "1.0 MB"),
        (102_500_000, "102 MB"),
        (2_500_000_000, "2.50 GB"),
        (1_250_000_000_000, "1250.00 GB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert wording.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (9.96, "10.0 s"),
        (99.94, "99.9 s"),
        (99.96, "1 min 40 s"),
        (3599.6, "1 h 00 min"),
        (7500.0, "2 h 05 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.1, "10 s"),
        (41.0, "50 s"),
        (110.0, "110 s"),
        (111.0, "2 min"),
        (754.0, "13 min"),
        (3580.0, "1 h 00 min"),
        (4870.0, "1 h 20 min"),
    ],
)
def test_a_guess_is_said_no_finer_than_it_is(seconds: float, text: str) -> None:
    assert wording.roughly(seconds) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("right-to-left \u202e and zero width \u200b", "right-to-left \\u202e and zero width \\u200b"),
        ("ខ្មែរ é 漢字", "ខ្មែរ é 漢字"),
    ],
)
def test_what_a_terminal_would_obey_is_made_visible(text: str, shown: str) -> None:
    assert wording.visible(text) == shown


def test_what_was_not_done_says_where_it_comes_from() -> None:
    plan = synthetic.plan(*(synthetic.unit(name) for name in ("a", "b", "c")))
    results = [
        synthetic.result(cell.id, origin=origin, why_exported=why)
        for cell, origin, why in zip(plan.cells, Origin, (None, None, "torch 2.14.1 → 2.15.0, nothing else"), strict=True)
    ]
    report = summarise(plan, synthetic.ledger(*results))
    assert [wording.took(cell) for cell in report.cells] == ["9.9 s", "cached", "before"]
    (note,) = wording.notes(report)
    assert (note.kind, note.text, note.cells) == ("exported", "torch 2.14.1 → 2.15.0, nothing else", (plan.cells[2].id,))


def test_where_all_is_new_nothing_is_explained() -> None:
    plan = synthetic.plan(synthetic.unit("a"))
    results = [synthetic.result(cell.id, why_exported=wording.FIRST_TIME) for cell in plan.cells]
    assert wording.notes(summarise(plan, synthetic.ledger(*results))) == []


def test_what_was_measured_beside_eager_is_a_note_of_its_cell_and_so_is_why_it_was_not() -> None:
    plan = synthetic.plan(synthetic.unit("a"), synthetic.unit("b"))
    first, second = (cell.id for cell in plan.cells)
    records = synthetic.ledger(*(synthetic.result(cell.id) for cell in plan.cells))
    records[-1:-1] = [
        CellMeasured(cell=first, speed=synthetic.SPEED, reason=""),
        CellMeasured(cell=second, speed=None, reason="verify: the process was killed"),
    ]
    report = summarise(plan, records)
    assert [(note.kind, note.text, note.cells) for note in wording.notes(report)] == [
        ("latency", "12.3 ms, 0.48 x eager's 25.6 ms; 120 MB of memory, eager 205 MB; 7 pairs, 1 thread", (first,)),
        ("latency", "not measured: verify: the process was killed", (second,)),
    ]
    assert wording.unexpected(report) == []
