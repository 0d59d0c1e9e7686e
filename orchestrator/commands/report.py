"""The verb report: writes again what a run folder holds beside plan and ledger, and shows the end of the run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator import runs
from orchestrator.commands.parser import add_run, parser_of
from orchestrator.folder import rebuild
from orchestrator.report import terminal
from orchestrator.report.summary import exit_code
from orchestrator.spec import RunSpec

DESCRIPTION = """\
Rebuilds everything of a run folder that can be made from plan.json, ledger.jsonl and the store, and shows the end of the
run again: reports, cells and delivered artifacts. What is there and right stays as it is. For a run that was killed, and
for a folder in which something was deleted or changed."""
EPILOG = """\
examples:
  python -m orchestrator report
  python -m orchestrator report latest
  python -m orchestrator report runs/20261124T092728Z-3e6c34

Exit codes: 0 every cell ended as expected; 1 some cell did not, or has no outcome because the run was ended; 2 there is
no such folder; 3 it is no run, its plan or ledger is damaged, or the store has lost files."""


def main(typed: Sequence[str], read: Callable[[Sequence[str]], RunSpec]) -> int:  # noqa: ARG001
    """Does what the command line after `report` says.

    Args:
        typed: The words after the verb.
        read: Not used: the folder's plan says everything.

    Returns:
        0 if every cell ended as expected, else 1; of a run that was ended early too.

    Raises:
        UserError: There is no such folder.
        EnvironmentRefusedError: It is no run, or it is damaged.
    """
    parser = parser_of("report", DESCRIPTION, EPILOG)
    add_run(parser)
    folder = runs.find(parser.parse_args(typed).run)
    report = rebuild(folder)
    terminal.show(report, folder, terminal.open_console())
    return exit_code(report)
