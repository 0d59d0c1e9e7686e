"""The run while it runs: each cell's stage on a terminal, calm lines elsewhere.

Fed with the events of the units. What it draws on a terminal is gone at the end, when the table replaces it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.report import marks, wording
from orchestrator.report.matrix import Matrix
from orchestrator.report.progress import Progress
from orchestrator.report.terminal import style
from orchestrator.result import CellFinished, CellResult, Event, Stage, Status
from orchestrator.spec import Plan

FRAMES_PER_SECOND = 4
"""Enough to see that it moves; each frame takes processor time from the exports."""
FEW_CELLS = 16
"""So many have a line each on a terminal, if it is high enough."""
OTHER_LINES = 2
"""Of the terminal's height: the heading, the prompt."""
AT_WORK_SHARE = 0.25
"""Of the terminal's height, below the matrix."""
STATUS_WIDTH = max(map(len, Status))
BAR_WIDTH = len(Stage) + 1 + max(map(len, Stage))
SECONDS_WIDTH = len("59 min 59 s")
EACH_CELL = 100
"""Up to so many cells have a line each where there is no terminal."""
SAY_SECONDS = 30.0
SAY_SHARE = 0.01
"""Above that, how far the run is: not before so long, and such a share of all cells, since it was last said."""


class View(Protocol):
    """Something that shows a run while it runs: a context manager around its events."""

    def on_event(self, event: Event) -> None:
        """Show what a unit reports."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


def view(plan: Plan, console: Console) -> View:
    """The view that fits: one that redraws itself where a person looks on, else plain lines; nothing if it is to be quiet."""
    if plan.settings.terminal == "quiet":
        return QuietView()
    moving = console.file.isatty() and not console.is_dumb_terminal
    return LiveView(plan, console) if moving else PlainView(plan, console)


class QuietView:
    """Shows nothing."""

    def on_event(self, event: Event) -> None:
        """Say nothing of it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing is left to print."""


class PlainView:
    """A line at the start and one per finished cell; in a large run one per unexpected end, and now and then how far it is."""

    def __init__(self, plan: Plan, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._progress = Progress(plan, clock)
        self._each = plan.settings.terminal == "verbose" or self._progress.total <= EACH_CELL
        self._said_at, self._said_done = 0.0, 0

    def on_event(self, event: Event) -> None:
        """Print what is worth a line."""
        progress = self._progress
        progress.on_event(event)
        if isinstance(event, CellFinished):
            if self._each or not progress.done[event.result.cell].expected:
                self._print(self._cell(event.result))
            if not self._each and self._is_time():
                self._said_at, self._said_done = progress.elapsed, len(progress.done)
                self._print(self._so_far())

    def __enter__(self) -> Self:
        rest = self._progress.rest
        before = f", about {wording.roughly(rest)} by earlier runs" if rest else ""
        self._print(
            Text(f"{wording.count(self._progress.total, 'cell')} in {wording.count(self._progress.units, 'unit')}{before}")
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing is left to print."""

    def _is_time(self) -> bool:
        more = len(self._progress.done) - self._said_done
        return more >= SAY_SHARE * self._progress.total and self._progress.elapsed - self._said_at >= SAY_SECONDS

    def _cell(self, result: CellResult) -> Text:
        """How many, what, which, how long, and why if it is bad."""
        done = self._progress.done[result.cell]
        return Text.assemble(
            self._number(),
            (f"{done.status:<{STATUS_WIDTH}}", style(done.status, done.expected)),
            f"  {wording.visible(result.cell)}",
            (f"  {wording.duration(done.seconds)}", "dim"),
            f"  {wording.visible(result.reason)}" if result.reason else "",
        )

    def _so_far(self) -> Text:
        counts = [marks.counted(count, *key) for key, count in _worst_first(self._progress)]
        return Text(f"{self._number()}{_times(self._progress)}: {', '.join(counts)}")

    def _number(self) -> str:
        total = str(self._progress.total)
        return f"[{len(self._progress.done):>{len(total)}}/{total}] "

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)


class LiveView:
    """Every cell with its stage while they are few, else as a matrix, with what is at work and what failed last."""

    def __init__(self, plan: Plan, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._progress = Progress(plan, clock)
        self._ascii = console.options.ascii_only
        self._matrix = Matrix(plan, self._ascii)
        # Frames are drawn in a thread of their own.
        self._lock = threading.Lock()
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
        with self._lock:
            self._progress.on_event(event)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def render(self) -> Group:
        """A frame, not higher than the terminal."""
        with self._lock:
            few = self._progress.total <= min(FEW_CELLS, self._console.height - OTHER_LINES)
            below = [self._table()] if few else self._picture()
            return Group(self._heading(), *below)

    def _heading(self) -> Text:
        """How far it is, for how long, how much longer, and how the cells ended, the worst first: what is last may be cut."""
        progress = self._progress
        counts = [marks.count(count, *key, self._ascii) for key, count in _worst_first(progress)]
        done = Text(f"{len(progress.done)} of {wording.count(progress.total, 'cell')}", "bold")
        return self._line(Text("  ").join([done, Text(_times(progress), "dim"), *counts]))

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column()
        table.add_column(no_wrap=True, overflow=marks.overflow(self._ascii))
        for cell in self._progress.unit_of:
            table.add_row("", *self._row(cell))
        return table

    def _row(self, cell: str) -> tuple[Text, Text, Text]:
        name = self._shown(cell)
        if done := self._progress.done.get(cell):
            seconds = Text(wording.duration(done.seconds), "dim")
            return Text(name), Text(done.status, style(done.status, done.expected)), seconds
        if work := self._progress.work_on(cell):
            took = wording.duration(self._progress.seconds_at(work))
            return Text(name, "bold"), marks.bar(work.stage, self._ascii), Text(took)
        return Text(name, "dim"), Text("waiting", "dim"), Text("")

    def _picture(self) -> list[Text]:
        """The matrix, in the space that what is below it leaves."""
        below = [*self._at_work(), *self._last_failure()]
        height = self._console.height - OTHER_LINES - len(below)
        return [*self._matrix.lines(self._progress, self._console.width, height), *below]

    def _at_work(self) -> Iterator[Text]:
        """The units that run, those first that have run longest, in at most a part of the terminal."""
        running = self._progress.running
        room = max(1, int(self._console.height * AT_WORK_SHARE))
        for unit, work in islice(running.items(), room):
            stage = marks.bar(work.stage, self._ascii)
            stage.pad_right(BAR_WIDTH - len(stage))
            seconds = wording.duration(self._progress.seconds_at(work))
            yield self._line("  ", stage, f"  {seconds:>{SECONDS_WIDTH}}  ", self._shown(work.cell or unit))
        if len(running) > room:
            yield Text(f"  and {len(running) - room} more at work", "dim")

    def _last_failure(self) -> Iterator[Text]:
        if failure := self._progress.failure:
            sign, colour = marks.ended(failure.status, False, self._ascii)
            said = f"  {self._shown(failure.cell)}  {self._shown(failure.reason)}"
            yield self._line("  ", (f"{sign} {failure.status}", colour), said)

    def _line(self, *parts: Text | str | tuple[str, str]) -> Text:
        """One line of the terminal, whatever is in it."""
        line = Text.assemble(*parts)
        line.no_wrap, line.overflow = True, marks.overflow(self._ascii)
        return line

    def _shown(self, text: str) -> str:
        return marks.shown(text, self._ascii)


def _times(progress: Progress) -> str:
    """How long it has run, and how much longer it will if that is known: `3 min 12 s, about 4 min left`."""
    rest = progress.rest
    return wording.duration(progress.elapsed) + (f", about {wording.roughly(rest)} left" if rest else "")


def _worst_first(progress: Progress) -> list[tuple[tuple[Status, bool], int]]:
    """How many cells ended how: the unexpected, the known, the good."""
    return sorted(progress.counts.items(), key=lambda item: (item[0][1], item[0][0] in wording.GOOD, item[0][0]))
