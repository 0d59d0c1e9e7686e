"""The verb fleet: the nights of a fleet as one page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from orchestrator.commands.parser import add_json, add_runs, as_json, parser_of
from orchestrator.errors import EXIT_PASSED, UserError
from orchestrator.history import index
from orchestrator.history.trends import nights, trends
from orchestrator.report import fleet_page
from orchestrator.spec import RunSpec
from orchestrator.store.disk import replace

NAME = "fleet.html"
DESCRIPTION = """\
Writes fleet.html beside the runs: the newest nights of a fleet, a strip of outcomes per cell, what is red and since when, how
size, error and export time went. The nights are the finished runs of the same command as the newest finished one."""
EPILOG = """\
examples:
  python -m orchestrator fleet
  python -m orchestrator fleet --last 90 --runs /srv/onnx/runs
  python -m orchestrator fleet --json

Exit codes: 0 written, whatever the nights say; 2 there is no finished run, or what was typed is wrong; 3 the disk refused."""


def main(typed: Sequence[str], read: Callable[[Sequence[str]], RunSpec]) -> int:  # noqa: ARG001
    """Does what the command line after `fleet` says.

    Args:
        typed: The words after the verb.
        read: Not used: there is nothing to configure.

    Returns:
        0.

    Raises:
        UserError: There is no finished run.
        StorageError: The disk refused.
    """
    parser = parser_of("fleet", DESCRIPTION, EPILOG)
    parser.add_argument("--last", type=int, default=30, metavar="N", help="nights at most (30)")
    add_runs(parser)
    add_json(parser)
    arguments = parser.parse_args(typed)
    if arguments.last < 1:
        raise UserError(f"--last {arguments.last}: at least one night")
    with index.opened(arguments.runs) as history:
        runs = nights(history, arguments.last)
        if not runs:
            raise UserError(f"there is no finished run in {arguments.runs} yet")
        found = trends(history, runs)
    if arguments.json:
        sys.stdout.write(as_json(nights=[run.id for run in runs], cells=found))
    else:
        replace(arguments.runs / NAME, fleet_page.render(runs, found))
        sys.stdout.write(f"{arguments.runs / NAME}\n")
    return EXIT_PASSED
