"""The verb publish: puts the artifacts of a run where others read them, a model in one step."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator import runs
from orchestrator.commands.parser import add_json, add_runs, as_json, parser_of
from orchestrator.errors import EXIT_PASSED, EXIT_UNEXPECTED, UserError
from orchestrator.folder import read_run
from orchestrator.publish import Outcome, publish
from orchestrator.report import wording
from orchestrator.report.summary import run_report
from orchestrator.spec import RunSpec
from orchestrator.store.disk import held, make_folder, refusals
from orchestrator.store.ledger import RunStatus

DESCRIPTION = """\
Puts the artifacts of a run into a folder that stays: FOLDER/MODEL is a link that is turned to a new version in one step, with
weights, test data, checksums, statements and a manifest. A model of which a cell did not end as expected, or is worse than
the baseline, keeps the version that it has; so does one of which nothing changed."""
EPILOG = """\
examples:
  python -m orchestrator publish latest /srv/models
  python -m orchestrator publish latest /srv/models --keep 7 --json

Exit codes: 0 every model is published, or nothing of it changed; 1 some model keeps what it had; 2 there is no such run, or
it did not reach its end; 3 the run is damaged, the store has lost files, or the disk refused."""


def main(typed: Sequence[str], read: Callable[[Sequence[str]], RunSpec]) -> int:  # noqa: ARG001
    """Does what the command line after `publish` says.

    Args:
        typed: The words after the verb.
        read: Not used: the folder's plan says everything.

    Returns:
        0 if every model of the run is published as the run found it, else 1.

    Raises:
        UserError: There is no such run, or it did not reach its end.
        EnvironmentRefusedError: It is damaged, the store has lost files, or the disk refused.
    """
    arguments = _parser().parse_args(typed)
    if arguments.keep < 1:
        raise UserError(f"--keep {arguments.keep}: at least the version that is published")
    path = runs.find(arguments.run, arguments.runs)
    plan, records = read_run(path)
    if run_report(records).status is not RunStatus.FINISHED:
        raise UserError(f"{path}: did not reach its end; python -m orchestrator resume {path} goes on with it")
    with refusals(arguments.folder):
        make_folder(arguments.folder)
    found = []
    with held(arguments.folder):
        for outcome in publish(plan, records, arguments.folder, arguments.keep):
            found.append(outcome)
            if not arguments.json:
                sys.stdout.write(_line(outcome))
    if arguments.json:
        sys.stdout.write(as_json(models=found))
    return EXIT_UNEXPECTED if any(outcome.withheld for outcome in found) else EXIT_PASSED


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("publish", DESCRIPTION, EPILOG)
    parser.add_argument("run", metavar="RUN", help="a run folder, or its name in the folder of all runs, as latest")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where models are published; made if it is not there")
    parser.add_argument("--keep", type=int, default=3, metavar="N", help="versions of a model that stay (3)")
    add_runs(parser)
    add_json(parser)
    return parser


def _line(outcome: Outcome) -> str:
    word = "published" if outcome.published else "as before" if not outcome.withheld else "withheld"
    return wording.visible(f"{word}  {outcome.model}: {outcome.message}") + "\n"
