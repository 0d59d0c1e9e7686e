"""The cells of a large run as a picture: a row per model, a column per exporter and opset, one character per cell."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from orchestrator.report import marks
from orchestrator.report.progress import Progress
from orchestrator.result import Status
from orchestrator.spec import Cell, Plan

HEADER_LINES = 2
INDENT = 2
GAP = 2
"""Between the labels and an exporter, and between exporters."""


class Column(NamedTuple):
    """An opset of an exporter, and where it is drawn."""

    exporter: str
    opset: int
    left: int
    """From the end of the labels."""


class Matrix:
    """Where each cell of a plan is drawn. What became of the cells is asked for with every picture."""

    def __init__(self, plan: Plan, ascii_only: bool) -> None:
        self._ascii = ascii_only
        self._overflow = marks.overflow(ascii_only)
        self._rows = _rows(plan, ascii_only)
        self._columns = _columns(plan)
        self._row_of = {cell.id: row for row, cells in self._rows.items() for cell in cells.values()}
        self._unit_rows = {unit.id: list(dict.fromkeys(self._row_of[cell.id] for cell in unit.cells)) for unit in plan.units}
        self._place = {row: place for place, row in enumerate(self._rows)}
        self._noun = "model" if len(self._rows) == len({unit.model.name for unit in plan.units}) else "row"
        self._label_width = max(map(cell_len, self._rows))

    def lines(self, progress: Progress, width: int, height: int) -> list[Text]:
        """The picture, in the width and height asked for but with one row at least; its last line says what does not fit.

        Rows at work are preferred, then those with an unexpected failure, then those where a cell ended last.
        """
        label = min(self._label_width, width // 2)
        columns = [column for column in self._columns if INDENT + label + column.left + len(str(column.opset)) <= width]
        room = height - HEADER_LINES
        cut = len(self._rows) > room or len(columns) < len(self._columns)
        rows = self._chosen(progress, max(1, room - cut))
        pictures = [self._row(row, columns, label, progress) for row in rows]
        left_out = self._left_out(len(self._rows) - len(rows), len(self._columns) - len(columns), width)
        return [*_header(columns, label, width), *pictures, *left_out]

    def _chosen(self, progress: Progress, room: int) -> list[str]:
        """As many rows as there is room for, in plan order."""
        if len(self._rows) <= room:
            return list(self._rows)
        chosen: set[str] = set()
        for row in self._by_interest(progress):
            chosen.add(row)
            if len(chosen) == room:
                break
        return sorted(chosen, key=self._place.__getitem__)

    def _by_interest(self, progress: Progress) -> Iterator[str]:
        at_work = chain.from_iterable(self._unit_rows[unit] for unit in progress.running)
        ended = (self._row_of[cell] for cell in chain(progress.unexpected, reversed(progress.done)))
        return chain(at_work, ended, self._rows)

    def _row(self, row: str, columns: list[Column], label_width: int, progress: Progress) -> Text:
        label = Text(row)
        label.truncate(label_width, overflow=self._overflow, pad=True)
        # Neighbours of one style are one piece: what a frame costs is its pieces.
        pieces: list[tuple[str, str]] = []
        end = 0
        for column in columns:
            if cell := self._rows[row].get((column.exporter, column.opset)):
                sign, style = _sign(cell, progress, self._ascii)
                before = pieces.pop()[0] if pieces and pieces[-1][1] == style else ""
                pieces.append((f"{before}{' ' * (column.left - end)}{sign}", style))
                end = column.left + 1
        return Text.assemble(" " * INDENT, label, *pieces)

    def _left_out(self, rows: int, columns: int, width: int) -> list[Text]:
        """The line on so many rows and columns, if any."""
        said = ", ".join([_more(rows, self._noun)] * bool(rows) + [_more(columns, "column")] * bool(columns))
        line = Text(f"{' ' * INDENT}and {said}", "dim")
        line.truncate(width, overflow=self._overflow)
        return [line] if said else []


def _sign(cell: Cell, progress: Progress, ascii_only: bool) -> tuple[str, str]:
    if cell.skip is not None:
        return marks.ended(Status.SKIPPED, True, ascii_only)
    if done := progress.done.get(cell.id):
        return marks.ended(done.status, done.expected, ascii_only)
    work = progress.work_on(cell.id)
    return marks.working(work.stage) if work else marks.waiting(ascii_only)


def _rows(plan: Plan, ascii_only: bool) -> dict[str, dict[tuple[str, int], Cell]]:
    """By label, the cells of a row by exporter and opset."""
    dtypes = len({unit.dtype for unit in plan.units}) > 1
    targets = len({cell.target.name for cell in plan.cells}) > 1
    swept = len({cell.swept for cell in plan.cells}) > 1
    rows: dict[str, dict[tuple[str, int], Cell]] = {}
    for unit in plan.units:
        for cell in unit.cells:
            varied = [unit.dtype] * dtypes + [cell.target.name] * targets
            varied += [f"{key}={value}" for key, value in cell.swept] * swept
            label = marks.shown(" ".join([unit.model.name, *varied]), ascii_only)
            rows.setdefault(label, {})[unit.exporter.name, cell.opset] = cell
    return rows


def _columns(plan: Plan) -> list[Column]:
    """The exporters in the order of the plan, the opsets of each ascending."""
    opsets: dict[str, set[int]] = {}
    for unit in plan.units:
        opsets.setdefault(unit.exporter.name, set()).update(cell.opset for cell in unit.cells)
    columns: list[Column] = []
    left = 0
    for exporter, of_exporter in opsets.items():
        left += GAP
        named = left + len(exporter)
        for opset in sorted(of_exporter):
            columns.append(Column(exporter, opset, left))
            left += len(str(opset)) + 1
        left = max(named, left - 1)
    return columns


def _header(columns: list[Column], label_width: int, width: int) -> list[Text]:
    """The exporters above their opsets."""
    names = opsets = " " * (INDENT + label_width)
    seen: set[str] = set()
    for column in columns:
        left = INDENT + label_width + column.left
        opsets = opsets.ljust(left) + str(column.opset)
        if column.exporter not in seen:
            seen.add(column.exporter)
            names = names.ljust(left) + column.exporter
    return [Text(names[:width], "dim"), Text(opsets, "dim")]


def _more(number: int, noun: str) -> str:
    return f"{number} more {noun if number == 1 else f'{noun}s'}"
