from __future__ import annotations

import contextlib
import io
import os
import pty
from dataclasses import replace

import pytest
import rich.text
from rich.console import Console

from orchestrator.report.live import LiveView, PlainView, view
from orchestrator.report.terminal import console_on
from orchestrator.result import CellFinished, Stage, StageStarted, Status
from orchestrator.spec import KnownIssue, Plan
from tests import synthetic

KNOWN = KnownIssue(cells="b-*", status=Status.EXPORT_FAILED, reason="known")
PLAN = synthetic.plan(
    synthetic.unit("a", opsets=(18, 20)),
    synthetic.unit("b", known_issues=(KNOWN,)),
    synthetic.unit("c", targets=(synthetic.CUDA,), skip="no node has a CUDA device"),
)
A18, A20, B = (cell.id for cell in PLAN.cells[:3])


def finished(cell: str, status: Status = Status.PASSED, **changed: object) -> CellFinished:
    return CellFinished(result=synthetic.result(cell, status, **changed))


def stage(unit: int, cell: str | None, at: Stage) -> StageStarted:
    return StageStarted(unit=PLAN.units[unit].id, cell=cell, stage=at)


def fleet(models: int) -> Plan:
    """Two exporters and three opsets of each model, for two workers; earlier runs took a minute a unit."""
    names = [f"model{n:02}" for n in range(models)]
    units = [replace(synthetic.unit(n, e, (18, 20, 23)), estimate=60.0) for n in names for e in ("dynamo", "torchscript")]
    plan = synthetic.plan(*units)
    return replace(plan, settings=replace(plan.settings, cluster=replace(plan.settings.cluster, workers=2)))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_each_finished_cell_is_one_line() -> None:
    stream = io.StringIO()
    with view(PLAN, console_on(stream)) as shown:
        assert isinstance(shown, PlainView)
        shown.on_event(stage(0, None, Stage.CAPTURE))
        shown.on_event(finished(A18))
        shown.on_event(finished(A20, Status.CHECK_FAILED))
        shown.on_event(finished(B, Status.EXPORT_FAILED, reason="capture:\n[bold]no\x1b[31m " + "x" * 500))
    assert stream.getvalue().splitlines() == [
        "3 cells in 2 units",
        f"[1/3] passed         {A18}  9.9 s",
        f"[2/3] check_failed   {A20}  9.9 s  parity: logits is 8 off at [0, 3]",
        f"[3/3] export_failed  {B}  9.9 s  capture: [bold]no\\x1b[31m {'x' * 500}",
    ]


def plain(plan: Plan, clock: Clock) -> tuple[PlainView, io.StringIO]:
    stream = io.StringIO()
    return PlainView(plan, console_on(stream), clock), stream


def test_the_first_line_says_how_long_it_took_before() -> None:
    shown, stream = plain(fleet(14), Clock())
    with shown:
        pass
    assert stream.getvalue() == "84 cells in 28 units, about 14 min by earlier runs\n"


def test_of_many_cells_only_unexpected_ends_have_lines_and_now_and_then_how_far_it_is() -> None:
    clock, known = Clock(), KnownIssue(cells="*opset23*", status=Status.CHECK_FAILED, reason="known")
    plan = fleet(50)
    plan = replace(plan, units=tuple(replace(u, model=replace(u.model, known_issues=(known,))) for u in plan.units))
    shown, stream = plain(plan, clock)
    for number, unit in enumerate(plan.units[:4]):
        shown.on_event(StageStarted(unit=unit.id, cell=None, stage=Stage.BUILD))
        for cell in unit.cells:
            clock.now += 6.0
            status = (
                Status.CHECK_FAILED if cell.opset == 23 else Status.OOM if (number, cell.opset) == (2, 20) else Status.PASSED
            )
            shown.on_event(finished(cell.id, status))
    assert stream.getvalue().splitlines() == [
        "[  5/300] 30.0 s, about 49 min left: 1 check_failed (known), 4 passed",
        "[  8/300] oom            model01-dynamo-opset20-float32-cpu  9.9 s  verify: the process tree used more than 8.59 GB",
        "[ 10/300] 60.0 s, about 48 min left: 1 oom, 3 check_failed (known), 6 passed",
    ]


@pytest.mark.parametrize(("seconds", "lines"), [(0.01, 3), (1.0, 100), (100.0, 100)])
def test_a_log_of_many_cells_has_at_most_a_hundred_lines_on_how_far_it_is(seconds: float, lines: int) -> None:
    clock = Clock()
    unit = synthetic.unit("many", opsets=range(10_000))
    shown, stream = plain(synthetic.plan(unit), clock)
    for cell in unit.cells:
        clock.now += seconds
        shown.on_event(finished(cell.id))
    assert stream.getvalue().count("\n") == lines


def live(plan: Plan = PLAN, height: int = 40, clock: Clock | None = None) -> tuple[LiveView, Console]:
    console = Console(file=io.StringIO(), width=100, height=height, force_terminal=True, _environ={})
    return LiveView(plan, console, clock or Clock()), console


def frame(shown: LiveView, console: Console) -> list[str]:
    with console.capture() as captured:
        console.print(shown.render())
    return [line.rstrip() for line in rich.text.Text.from_ansi(captured.get()).plain.splitlines()]


def test_a_stage_of_the_unit_is_shown_for_all_its_cells_and_one_of_a_cell_for_it_alone() -> None:
    clock = Clock()
    shown, console = live(clock=clock)
    shown.on_event(stage(0, None, Stage.CAPTURE))
    clock.now = 2.5
    assert frame(shown, console) == [
        "0 of 3 cells  2.5 s",
        f"  {A18}  ●●◉○○ capture  2.5 s",
        f"  {A20}  ●●◉○○ capture  2.5 s",
        f"  {B}  waiting",
    ]
    shown.on_event(stage(0, A18, Stage.VERIFY))
    assert frame(shown, console)[1:3] == [f"  {A18}  ●●●●◉ verify  0.0 s", f"  {A20}  waiting"]


def test_finished_cells_show_how_they_ended() -> None:
    shown, console = live()
    shown.on_event(finished(A18))
    shown.on_event(finished(B, Status.EXPORT_FAILED))
    shown.on_event(stage(0, None, Stage.EMIT))
    assert frame(shown, console) == [
        "2 of 3 cells  0.0 s  ~ 1 export_failed (known)  ✔ 1 passed",
        f"  {A18}  passed         9.9 s",
        f"  {A20}  ●●●◉○ emit     0.0 s",
        f"  {B}  export_failed  9.9 s",
    ]


def test_many_cells_are_a_matrix_with_what_is_at_work_and_what_failed_last() -> None:
    clock = Clock()
    plan = fleet(14)
    shown, console = live(plan, height=24, clock=clock)
    for number, unit in enumerate(plan.units[:4]):
        clock.now = 60.0 * number
        shown.on_event(StageStarted(unit=unit.id, cell=None, stage=Stage.BUILD))
        for cell in unit.cells:
            clock.now += 20.0
            shown.on_event(
                finished(cell.id, Status.CRASHED if cell.id == "model01-dynamo-opset20-float32-cpu" else Status.PASSED)
            )
    shown.on_event(StageStarted(unit=plan.units[4].id, cell=None, stage=Stage.CAPTURE))
    shown.on_event(StageStarted(unit=plan.units[5].id, cell=plan.units[5].cells[0].id, stage=Stage.VERIFY))
    clock.now += 30.0
    lines = frame(shown, console)
    assert lines[:7] == [
        "12 of 84 cells  4 min 30 s, about 12 min left  ✘ 1 crashed  ✔ 11 passed",
        "           dynamo    torchscript",
        "           18 20 23  18 20 23",
        "  model00  ✔  ✔  ✔   ✔  ✔  ✔",
        "  model01  ✔  ✘  ✔   ✔  ✔  ✔",
        "  model02  c  c  c   v  ·  ·",
        "  model03  ·  ·  ·   ·  ·  ·",
    ]
    assert lines[16:] == [
        "  model13  ·  ·  ·   ·  ·  ·",
        "  ●●◉○○ capture         30.0 s  model02-dynamo-float32",
        "  ●●●●◉ verify          30.0 s  model02-torchscript-opset18-float32-cpu",
        "  ✘ crashed  model01-dynamo-opset20-float32-cpu  emit: the process was killed by SIGSEGV",
    ]


@pytest.mark.parametrize("height", range(10, 30))
def test_a_frame_is_never_higher_than_the_terminal(height: int) -> None:
    plan = fleet(30)
    shown, console = live(plan, height=height)
    shown.on_event(finished(plan.cells[100].id, Status.TIMEOUT))
    for unit in plan.units[:25]:
        shown.on_event(StageStarted(unit=unit.id, cell=None, stage=Stage.BUILD))
    lines = frame(shown, console)
    assert len(lines) < height
    assert lines[-2] == f"  and {25 - height // 4} more at work"
    assert lines[-1].startswith("  ✘ timeout  model16-torchscript")


def test_few_cells_are_a_matrix_where_their_table_does_not_fit() -> None:
    shown, console = live(fleet(2), height=14)
    assert len(frame(shown, console)) == 1 + 12
    shown, console = live(fleet(2), height=13)
    assert frame(shown, console)[3:] == ["  model00  ·  ·  ·   ·  ·  ·", "  model01  ·  ·  ·   ·  ·  ·"]


def test_a_name_is_neither_markup_nor_wider_than_the_terminal() -> None:
    unit = synthetic.unit("[bold]" + "x" * 200)
    shown, console = live(synthetic.plan(unit))
    lines = frame(shown, console)
    assert len(lines) == 2
    assert "[bold]" in lines[1]


def test_a_stream_that_knows_ascii_only_gets_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=stream, width=100, height=40, force_terminal=True, _environ={})
    shown = LiveView(PLAN, console, Clock())
    shown.on_event(stage(0, None, Stage.CAPTURE))
    console.print(shown.render())
    stream.flush()
    written = stream.buffer.getvalue().decode("ascii")
    assert "##>.. capture" in rich.text.Text.from_ansi(written).plain


def read_all(main: int) -> str:
    """What a pseudo-terminal has received; Linux ends it with an error."""
    chunks = []
    with contextlib.suppress(OSError):
        while chunk := os.read(main, 1 << 16):
            chunks.append(chunk)
    os.close(main)
    return b"".join(chunks).decode()


@pytest.mark.parametrize("fails", [False, True])
def test_on_a_terminal_it_cleans_up_behind_itself_whatever_happens(fails: bool) -> None:
    main, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stream:
        shown = view(PLAN, Console(file=stream, width=100, height=40, _environ={"TERM": "xterm"}))
        assert isinstance(shown, LiveView)
        try:
            with shown:
                shown.on_event(finished(A18))
                if fails:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            assert fails
    written = read_all(main)
    assert "passed" in written
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


def with_level(plan: Plan, level: str) -> Plan:
    return replace(plan, settings=replace(plan.settings, terminal=level))


def test_quiet_says_nothing_while_it_runs_and_verbose_a_line_for_each_cell_of_many() -> None:
    many = fleet(60)
    for level, lines in (("quiet", 0), ("normal", 1), ("verbose", 1 + len(many.cells))):
        stream = io.StringIO()
        with view(with_level(many, level), console_on(stream)) as shown:
            for cell in many.cells:
                shown.on_event(finished(cell.id))
        assert len(stream.getvalue().splitlines()) == lines, level
