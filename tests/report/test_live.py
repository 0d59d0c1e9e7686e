from __future__ import annotations

import contextlib
import io
import os
import pty

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


def test_without_a_terminal_each_finished_cell_is_one_line() -> None:
    stream = io.StringIO()
    with view(PLAN, console_on(stream)) as shown:
        assert isinstance(shown, PlainView)
        shown.on_event(stage(0, None, Stage.CAPTURE))
        shown.on_event(finished(A18))
        shown.on_event(finished(A20, Status.CHECK_FAILED))
        shown.on_event(finished(B, Status.EXPORT_FAILED, reason="capture:\n[bold]no\x1b[31m " + "x" * 500))
    assert stream.getvalue().splitlines() == [
        "3 cells in 3 units",
        f"[1/3] passed         {A18}  9.9 s",
        f"[2/3] check_failed   {A20}  9.9 s  parity: logits is 8 off at [0, 3]",
        f"[3/3] export_failed  {B}  9.9 s  capture: [bold]no\\x1b[31m {'x' * 500}",
    ]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


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
        "2 of 3 cells  1 export_failed  1 passed  0.0 s",
        f"  {A18}  passed         9.9 s",
        f"  {A20}  ●●●◉○ emit     0.0 s",
        f"  {B}  export_failed  9.9 s",
    ]


def test_where_there_is_no_room_for_all_those_at_work_and_the_bad_are_shown() -> None:
    unit = synthetic.unit("many", opsets=range(100, 130))
    shown, console = live(synthetic.plan(unit), height=7)
    ids = [cell.id for cell in unit.cells]
    for cell in ids[:10]:
        shown.on_event(finished(cell))
    shown.on_event(finished(ids[5], Status.CRASHED))
    shown.on_event(StageStarted(unit=unit.id, cell=ids[20], stage=Stage.EMIT))
    lines = frame(shown, console)
    assert [line.split()[0] for line in lines[1:-1]] == [ids[0], ids[5], ids[20]]
    assert lines[-1] == "  and 27 more"
    assert len(lines) <= 7


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
