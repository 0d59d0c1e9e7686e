"""Cells that did not pass, gathered by what went wrong: the same cause in forty cells is one line.

Told apart by text: two causes that differ in numbers, paths or names alone are taken for one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.report import advice, wording
from orchestrator.report.summary import CellReport
from orchestrator.result import Status

PATH = re.compile(r"(?:/[\w.+,=@%-]+){2,}")
RUN = re.compile(r"\b\d{8}T\d{6,12}Z-[0-9a-f]+")
DIGEST = re.compile(r"\b[0-9a-f]{12,}\b")
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """What went wrong in the same way in one cell or many."""

    status: Status
    expected: bool
    """It is a known issue."""
    worse: bool
    """It ended well, and worse than what was accepted."""
    problems: tuple[str, ...]
    """Of the first cell, a line each."""
    next: str
    """What to do about it."""
    cells: tuple[CellReport, ...]
    """In plan order."""


def causes(cells: Iterable[CellReport]) -> list[Cause]:
    """All cells that ended neither well nor as expected, and those that are known to fail; what nobody expected first."""
    alike: dict[tuple[str, ...], list[CellReport]] = defaultdict(list)
    for cell in cells:
        if not cell.expected or cell.status not in wording.GOOD:
            alike[signature(cell)].append(cell)
    found = [_cause(members) for members in alike.values()]
    return sorted(found, key=lambda cause: (cause.expected, -len(cause.cells)))


def signature(cell: CellReport) -> tuple[str, ...]:
    """What cells of one cause have in common: how they ended, where, and what was said, without numbers and their own names."""
    failed = next((check.id for check in cell.checks if check.status in wording.FAILING), "")
    error = (cell.error.stage, cell.error.kind) if cell.error else ("", "")
    rules = (regression.rule for regression in cell.regressions)
    first = (_common(line, cell) for line in wording.problems(cell)[:1])
    return (cell.status, str(cell.expected), failed, *error, *rules, *first)


def _cause(cells: list[CellReport]) -> Cause:
    first = cells[0]
    problems = tuple(wording.problems(first))
    return Cause(
        status=first.status,
        expected=first.expected,
        worse=bool(first.regressions) and first.status in wording.GOOD,
        problems=problems,
        next=advice.next_step(first),
        cells=tuple(cells),
    )


def _common(text: str, cell: CellReport) -> str:
    """A message without what differs from cell to cell although the cause is the same."""
    values = (*cell.artifact.inputs, *cell.artifact.outputs) if cell.artifact else ()
    own = [cell.id, cell.model, *(value.name for value in values)]
    for name in sorted(own, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "<name>", text)
    for pattern in (PATH, RUN, DIGEST, NUMBER):
        text = pattern.sub("#", text)
    return text
