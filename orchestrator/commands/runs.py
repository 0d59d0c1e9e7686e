"""The verb runs: all runs, the newest first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from orchestrator.commands.parser import add_json, add_runs, as_json, parser_of
from orchestrator.errors import EXIT_PASSED, UserError
from orchestrator.history import index
from orchestrator.report import over_runs
from orchestrator.spec import RunSpec

DESCRIPTION = """\
Lists the runs, the newest first: when they began, how long they took, how they ended, what was asked for. It asks an
index beside the runs, which is brought up to date from plans and ledgers first; a run that cannot be read is listed with
the reason."""
EPILOG = """\
examples:
  python -m orchestrator runs
  python -m orchestrator runs --last 3
  python -m orchestrator runs --runs /data/nightly --json

Exit codes: 0 done; 2 there is no run, or what was typed is wrong."""


def main(typed: Sequence[str], read: Callable[[Sequence[str]], RunSpec]) -> int:  # noqa: ARG001
    """Does what the command line after `runs` says.

    Args:
        typed: The words after the verb.
        read: Not used: there is nothing to configure.

    Returns:
        0.

    Raises:
        UserError: There is no run.
    """
    parser = parser_of("runs", DESCRIPTION, EPILOG)
    add_runs(parser)
    parser.add_argument("--last", type=int, default=20, metavar="N", help="how many at most (20)")
    add_json(parser)
    arguments = parser.parse_args(typed)
    if arguments.last < 1:
        raise UserError(f"--last {arguments.last}: at least one run")
    with index.opened(arguments.runs) as history:
        entries = history.runs()
    if not entries:
        raise UserError(f"there is no run in {arguments.runs} yet; a run begins with +model=NAME or +fleet=NAME")
    entries = entries[: arguments.last]
    text = as_json(runs=entries) if arguments.json else "".join(f"{line}\n" for line in over_runs.runs(entries))
    sys.stdout.write(text)
    return EXIT_PASSED
