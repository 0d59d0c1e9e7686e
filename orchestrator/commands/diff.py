"""The verb diff: what is another in a later run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import msgspec

from orchestrator import runs
from orchestrator.commands.parser import add_json, add_runs, as_json, parser_of
from orchestrator.errors import EXIT_PASSED, EXIT_UNEXPECTED
from orchestrator.history import index
from orchestrator.history.compare import between
from orchestrator.report import over_runs
from orchestrator.spec import RunSpec

DESCRIPTION = """\
Compares two runs cell by cell: status, opset, inputs and outputs, operators, error over its bound, size; and what the runs
were made with: which component is another. Latency is not among it."""
EPILOG = """\
examples:
  python -m orchestrator diff 20261123T020000Z-3e6c34 20261124T020000Z-a66092
  python -m orchestrator diff 20261123T020000Z-3e6c34
  python -m orchestrator diff runs/A /data/nightly/B --json

Exit codes: 0 no cell differs; 1 some do; 2 there is no such run; 3 one is no run, or its plan or ledger is damaged."""


def main(typed: Sequence[str], read: Callable[[Sequence[str]], RunSpec]) -> int:  # noqa: ARG001
    """Does what the command line after `diff` says.

    Args:
        typed: The words after the verb.
        read: Not used: there is nothing to configure.

    Returns:
        0 if no cell differs, else 1.

    Raises:
        UserError: There is no such run.
        EnvironmentRefusedError: One is no run, or it is damaged.
    """
    parser = parser_of("diff", DESCRIPTION, EPILOG)
    parser.add_argument("before", metavar="RUN_A", help="a run folder, or its name in the folder of all runs")
    parser.add_argument("after", metavar="RUN_B", nargs="?", help="the later one; else the newest")
    add_runs(parser)
    add_json(parser)
    arguments = parser.parse_args(typed)
    folders = (runs.find(word, arguments.runs) for word in (arguments.before, arguments.after))
    found = between(*(index.report_of(folder) for folder in folders))
    shown = as_json(**msgspec.to_builtins(found)) if arguments.json else "\n".join(over_runs.diff(found)) + "\n"
    sys.stdout.write(shown)
    return EXIT_UNEXPECTED if found.cells else EXIT_PASSED
