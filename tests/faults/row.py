"""A row of the table of what was tried to break the store and the runs."""

from __future__ import annotations

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


def markdown(rows: tuple[Row, ...]) -> str:
    """The table of docs/reliability.md."""
    lines = ["| what | reach | measured |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {row.what} | {row.reach} | {row.measured} |" for row in rows)])


def show(row: Row) -> int:
    """Print a campaign's row and its violations.

    Returns:
        The exit code.
    """
    print(markdown((row,)), *row.violations, sep="\n")
    return 1 if row.violations else 0
