"""The run while it runs: each cell's stage on a terminal, one calm line per finished cell elsewhere.

Fed with the events of the units. Keeps no results; what it draws on a terminal is gone at the end, when the table replaces it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.report import wording
from orchestrator.report.expected import judge
from orchestrator.report.terminal import style
from orchestrator.result import CellFinished, Event, Stage, StageStarted, Status
from orchestrator.spec import Plan

STAGES = tuple(Stage)
FRAMES_PER_SECOND = 4
"""Enough to see that it moves; each frame takes processor time from the exports."""
OTHER_LINES = 4
"""Of the terminal's height: the heading, what is left out, the prompt."""
STATUS_WIDTH = max(map(len, Status))


class View(Protocol):
    """Something that shows a run while it runs: a context manager around its events."""

    def on_event(self, event: Event) -> None:
        """Show what a unit reports."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Done(NamedTuple):
    """What is kept of a finished cell."""

    status: Status
    expected: bool
    seconds: float


class Work(NamedTuple):
    """What a unit is at."""

    cell: str | None
    """None: all its cells that are not finished."""
    stage: Stage
    since: float
    """By the view's clock."""


def view(plan: Plan, console: Console) -> View:
    """The view that fits the console: one that redraws itself where a person looks on, else plain lines."""
    moving = console.file.isatty() and not console.is_dumb_terminal
    return LiveView(plan, console) if moving else PlainView(plan, console)


class PlainView:
    """A line at the start and one per finished cell."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._console = console
        self._judge = _Judge(plan)
        self._cells = sum(cell.skip is None for cell in plan.cells)
        self._units = len(plan.units)
        self._done = 0

    def on_event(self, event: Event) -> None:
        """Print a finished cell: how many, what, which, how long, and why if it is bad."""
        if isinstance(event, CellFinished):
            self._done += 1
            result, done = event.result, self._judge(event)
            line = Text.assemble(
                f"[{self._done:>{len(str(self._cells))}}/{self._cells}] ",
                (f"{done.status:<{STATUS_WIDTH}}", style(done.status, done.expected)),
                f"  {wording.visible(result.cell)}",
                (f"  {wording.duration(done.seconds)}", "dim"),
                f"  {wording.visible(result.reason)}" if result.reason else "",
            )
            self._console.print(line, soft_wrap=True)

    def __enter__(self) -> Self:
        self._console.print(Text(f"{_count(self._cells, 'cell')} in {_count(self._units, 'unit')}"), soft_wrap=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing is left to print."""


class LiveView:
    """Every cell with its stage and how long it has been at it; when there are too many, those that matter."""

    def __init__(self, plan: Plan, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._start = clock()
        self._judge = _Judge(plan)
        self._unit_of = {cell.id: unit.id for unit in plan.units for cell in unit.cells if cell.skip is None}
        self._work: dict[str, Work] = {}
        self._done: dict[str, Done] = {}
        # Standard output is not redirected: in this process (cluster=inline) it is the cell's log.
        self._live = Live(
            console=console,
            get_renderable=self.render,
            refresh_per_second=FRAMES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def on_event(self, event: Event) -> None:
        """Note what a unit reports; the next frame shows it."""
        match event:
            case StageStarted(unit=unit, cell=cell, stage=stage):
                self._work[unit] = Work(cell, stage, self._clock())
            case CellFinished(result=result):
                self._done[result.cell] = self._judge(event)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def render(self) -> Group:
        """A frame: the heading and as many cells as the terminal has lines for."""
        table = Table.grid(padding=(0, 2))
        table.add_column()
        table.add_column(no_wrap=True, overflow="ellipsis")
        shown = self._shown()
        for cell in shown:
            table.add_row("", *self._row(cell))
        rest = len(self._unit_of) - len(shown)
        return Group(self._heading(), table, *([Text(f"  and {rest} more", "dim")] if rest else []))

    def _shown(self) -> list[str]:
        """The cells on the screen, in plan order: those at work first of all, then the bad, the finished, the waiting."""
        ranks = {cell: self._rank(cell) for cell in self._unit_of}
        chosen = sorted(ranks, key=ranks.__getitem__)[: max(1, self._console.height - OTHER_LINES)]
        return [cell for cell in self._unit_of if cell in set(chosen)]

    def _rank(self, cell: str) -> int:
        done = self._done.get(cell)
        if done is None:
            return 0 if self._work_on(cell) else 3
        return 2 if done.expected else 1

    def _work_on(self, cell: str) -> Work | None:
        work = self._work.get(self._unit_of[cell])
        return work if work and work.cell in (None, cell) else None

    def _heading(self) -> Text:
        counts = Counter((done.status, done.expected) for done in self._done.values())
        parts = [Text(f"{count} {status}", style(status, expected)) for (status, expected), count in sorted(counts.items())]
        took = wording.duration(self._clock() - self._start)
        return Text("  ").join(
            [Text(f"{len(self._done)} of {_count(len(self._unit_of), 'cell')}", "bold"), *parts, Text(took, "dim")]
        )

    def _row(self, cell: str) -> tuple[Text, Text, Text]:
        name = wording.visible(cell)
        if done := self._done.get(cell):
            seconds = Text(wording.duration(done.seconds), "dim")
            return Text(name), Text(done.status, style(done.status, done.expected)), seconds
        if work := self._work_on(cell):
            return Text(name, "bold"), self._bar(work.stage), Text(wording.duration(self._clock() - work.since))
        return Text(name, "dim"), Text("waiting", "dim"), Text("")

    def _bar(self, stage: Stage) -> Text:
        """The five stages as marks, the one at work named: `●●◉○○ capture`."""
        past, now, ahead = "#>." if self._console.options.ascii_only else "●◉○"
        before = STAGES.index(stage)
        marks = Text.assemble((past * before, "green"), (now, "cyan"), (ahead * (len(STAGES) - before - 1), "dim"))
        return Text.assemble(marks, (f" {stage}", "cyan"))


class _Judge:
    """Says how a cell ended and whether that was expected, by the known issues of its model."""

    def __init__(self, plan: Plan) -> None:
        self._issues = {cell.id: unit.model.known_issues for unit in plan.units for cell in unit.cells}
        self._today = datetime.now(UTC).date().isoformat()

    def __call__(self, event: CellFinished) -> Done:
        result = event.result
        expected = judge(result.cell, result.status, self._issues[result.cell], self._today).expected
        return Done(result.status, expected, result.durations.get("total", 0.0))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
