"""A row of the table of what was tried to break the store and the runs."""

from __future__ import annotations

import sys
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
    """Print the table of docs/reliability.md, and the violations.

    Returns:
        The exit code.
    """
    lines = ["| what | reach | measured |", "| --- | --- | --- |"]
    lines += [f"| {row.what} | {row.reach} | {row.measured} |" for row in rows]
    violations = [violation for row in rows for violation in row.violations]
    sys.stdout.write("\n".join([*lines, *violations, ""]))
    return 1 if violations else 0
