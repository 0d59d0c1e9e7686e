"""A row of the table of what was tried to break the store and the runs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """What one campaign did."""

    what: str
    reach: str
    """What was asked for."""
    measured: str
    """What was done, and what came of it."""
    violations: tuple[str, ...] = ()
    """Promises that were broken, a line each; the campaign failed if there is one."""


def show(*rows: Row) -> int:
    """Print the table of docs/reliability.md, and the violations; see `show_all`."""
    return show_all(rows)


def show_all(rows: Iterable[Row]) -> int:
    """Print each row as soon as it is there, and at the end the violations.

    Returns:
        1 if a promise was broken, else 0.
    """
    violations: list[str] = []
    _write("| what | reach | measured |", "| --- | --- | --- |")
    for row in rows:
        _write(f"| {row.what} | {row.reach} | {row.measured} |")
        violations += row.violations
    _write(*violations)
    return 1 if violations else 0


def _write(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
