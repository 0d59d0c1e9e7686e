"""The end of a run on the terminal: the verdict, the table, what failed and what to do, where everything is.

Without a terminal it is the same text, plain and never wrapped. What models, configs and logs said is shown, never obeyed.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator import layout
from orchestrator.errors import EXIT_PASSED
from orchestrator.report import advice, judgement, wording
from orchestrator.report.summary import CellReport, Report, exit_code, gone
from orchestrator.result import Status

PIPE_WIDTH = 10_000
"""Columns where there is no terminal: nothing is wrapped, grep finds whole lines."""
STYLES = {
    Status.PASSED: "green",
    Status.SKIPPED: "dim",
    Status.UNVERIFIED: "yellow",
    Status.INFRA_ERROR: "magenta",
}
"""All others are red, and yellow where they are expected."""
MANY = 100
"""Cells up to which the table has them all."""
FAILURES = 25
"""That are told with cause and next step: after a change of torch a thousand may have the same one."""
LOG_LINES = 20
"""Of the log of a cell that failed, where much is to be said."""
Level = Literal["quiet", "normal", "verbose"]
"""How much is said."""
NARROW = ("operators", "size", "opset")
"""Columns that go, in this order, before identifiers are broken over lines."""


class Column(NamedTuple):
    """A column of the table."""

    name: str
    justify: Literal["left", "right"]
    text: Callable[[CellReport], str]


COLUMNS = (
    Column("cell", "left", lambda cell: wording.visible(cell.id)),
    Column("status", "left", wording.status),
    Column("worst error", "right", lambda cell: wording.error_and_bound(cell.checks)),
    Column("opset", "right", wording.opset),
    Column("size", "right", lambda cell: wording.size(cell.artifact.bytes) if cell.artifact else ""),
    Column("operators", "right", lambda cell: str(sum(cell.artifact.op_counts.values())) if cell.artifact else ""),
    Column("time", "right", wording.took),
)


def open_console() -> Console:
    """The console of this process, on a descriptor of its own: what models print to descriptor 1 cannot get between."""
    sys.stdout.flush()
    encoding = sys.stdout.encoding
    # It stays open until the process ends.
    return console_on(os.fdopen(os.dup(1), "w", 1, encoding=encoding, errors="backslashreplace", closefd=False))


class _Console(Console):
    """One whose reader may leave, as `head` does, without ending the run."""

    def on_broken_pipe(self) -> None:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), self.file.fileno())


def console_on(stream: io.TextIOBase) -> Console:
    """A console that writes to a stream, as wide as its terminal or without end."""
    width = None if stream.isatty() else PIPE_WIDTH
    return _Console(file=stream, width=width, highlight=False, markup=False, emoji=False)  # type: ignore[arg-type]


def show(report: Report, folder: Path, console: Console, level: Level = "normal") -> None:
    """Print the end of a run.

    Args:
        report: Of the whole run.
        folder: The run folder, absolute.
        console: From `open_console`.
        level: quiet leaves out the table and the notes; verbose has every cell, and of those that failed checks and log.
    """
    console.print()
    _headline(report, console)
    if level != "quiet" and (rows := _rows(report, MANY if level == "normal" else len(report.cells))):
        console.print(_table(rows, console))
    failures = wording.failures(report)
    told = failures if level == "verbose" else failures[:FAILURES]
    for cell in told:
        _failure(cell, folder, console, verbose=level == "verbose")
    if len(failures) > len(told):
        _line(console, f"  and {len(failures) - len(told)} more, in {layout.REPORT_HTML}\n")
    for regression in gone(report):
        _prose(console, 2, ("gone", "bold red"), f"{wording.visible(regression.cell)}: {wording.visible(regression.message)}")
        _prose(console, 4, ("next ", "dim"), advice.GONE)
    if gone(report):
        console.print()
    if level != "quiet":
        _notes(report, console)
    _paths(report, folder, console)


def style(status: Status, expected: bool) -> str:
    """The colour of a status."""
    if status is Status.PASSED and not expected:
        return "bold red"
    return STYLES.get(status, "yellow" if expected else "bold red")


def shown(path: Path) -> Path:
    """The path from the current folder if it is below it, else the whole."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _headline(report: Report, console: Console) -> None:
    good = exit_code(report) == EXIT_PASSED
    mark = ("+" if good else "x") if console.options.ascii_only else ("✔" if good else "✘")
    took = wording.elapsed(report)
    _line(
        console,
        (f"{mark} {wording.headline(report)}", "bold green" if good else "bold red"),
        (f"  {took}" if took else "", "dim"),
    )
    if len(report.cells) > 1:
        counts = [Text(f"{count} {status}", style(status, expected=good)) for status, count in wording.tally(report.counts)]
        _prose(console, 2, Text(", ").join(counts))


def _rows(report: Report, many: int) -> list[CellReport]:
    """All cells, or of many those that are not plainly good: the others are in report.html."""
    if len(report.cells) <= many:
        return list(report.cells)
    return [cell for cell in report.cells if not cell.expected or cell.status not in wording.GOOD]


def _table(rows: list[CellReport], console: Console) -> Padding:
    """The table without the columns for which the terminal is too narrow."""
    columns = list(COLUMNS)
    for name in NARROW:
        if _width(columns, rows) <= console.width:
            break
        columns = [column for column in columns if column.name != name]
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, header_style="dim", border_style="dim"
    )
    for column in columns:
        breakable = column.name == "cell"
        table.add_column(column.name, justify=column.justify, no_wrap=not breakable, overflow="fold")
    for cell in rows:
        table.add_row(*(Text(column.text(cell), _style_of(column, cell)) for column in columns))
    return Padding(table, (1, 0, 1, 2), expand=False)


def _width(columns: list[Column], rows: list[CellReport]) -> int:
    """How wide the table is, with two cells of space before each of its columns."""
    return sum(2 + max(len(column.name), *(len(column.text(cell)) for cell in rows)) for column in columns)


def _style_of(column: Column, cell: CellReport) -> str:
    if column.name == "status":
        return style(cell.status, cell.expected)
    if column.name == "opset" and cell.opset_actual not in (None, cell.opset):
        return style(cell.status, cell.expected)
    return "dim" if cell.status is Status.SKIPPED else ""


def _failure(cell: CellReport, folder: Path, console: Console, *, verbose: bool) -> None:
    _line(console, "  ", (wording.visible(cell.id), "bold"), "  ", (cell.status, style(cell.status, cell.expected)))
    for problem in wording.problems(cell):
        _prose(console, 4, wording.visible(problem))
    _prose(console, 4, ("next ", "dim"), advice.next_step(cell))
    _line(console, ("    files  ", "dim"), str(shown(folder / layout.cell_folder(cell.id))))
    for line in _details(cell, folder) if verbose else ():
        _line(console, "    ", line)
    console.print()


def _details(cell: CellReport, folder: Path) -> Iterator[str]:
    """What its checks said, and the end of its log."""
    yield from (line for line in [*judgement.lines(cell, cell.id)][1:] if cell.checks)
    if cell.error and cell.error.log and (folder / cell.error.log).is_file():
        text = (folder / cell.error.log).read_text(encoding="utf-8", errors="replace")
        yield from (f"| {wording.visible(line)}" for line in text.splitlines()[-LOG_LINES:])


def _notes(report: Report, console: Console) -> None:
    notes = wording.notes(report)
    for note in notes:
        more = f" and {len(note.cells) - 1} more" if len(note.cells) > 1 else ""
        text = Text.assemble(wording.visible(note.text), (f"  ({wording.visible(note.cells[0])}{more})", "dim"))
        _prose(console, 2, (note.kind, "yellow"), text)
    if notes:
        console.print()


def _paths(report: Report, folder: Path, console: Console) -> None:
    passed = [cell for cell in report.cells if cell.status is Status.PASSED]
    delivered = {cell.artifact.path for cell in passed if cell.artifact and cell.artifact.path}
    _line(console, ("  report     ", "dim"), str(shown(folder / layout.REPORT_HTML)))
    if len(delivered) == 1:
        _line(console, ("  artifact   ", "dim"), str(shown(folder / delivered.pop())))
    elif delivered:
        _line(console, ("  artifacts  ", "dim"), str(shown(folder / layout.ARTIFACTS)))


def _line(console: Console, *parts: str | tuple[str, str] | Text) -> None:
    # A path that is broken over lines cannot be copied: the terminal wraps, not we.
    console.print(Text.assemble(*parts), soft_wrap=True)


def _prose(console: Console, indent: int, *parts: str | tuple[str, str] | Text) -> None:
    """Text that is wrapped between words; what precedes the last part is a label that the wrapped lines are indented by."""
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_row(*(Text.assemble(part) for part in parts))
    console.print(Padding(grid, (0, 0, 0, indent), expand=False))
