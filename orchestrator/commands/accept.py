"""The verb accept: what a run found is from now on what its cells are compared with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from orchestrator import baseline, runs
from orchestrator.baseline import Acceptance
from orchestrator.commands.parser import add_json, add_runs, as_json, parser_of
from orchestrator.errors import EXIT_PASSED, EXIT_UNEXPECTED, UserError
from orchestrator.folder import read_run
from orchestrator.report import wording
from orchestrator.report.summary import outcomes, summarise
from orchestrator.spec import RunSpec
from orchestrator.store.disk import held
from orchestrator.store.ledger import RunStatus

DESCRIPTION = """\
Makes the outcomes of a run the baseline: later runs are compared with them at their end, and what is worse by the rules under
baseline in conf/config.yaml is red. Accepted is what passed, what is a known issue, and what is red only because it is worse
than the baseline. Cells that the same command had before and does not have any more are dropped."""
EPILOG = """\
examples:
  python -m orchestrator accept latest
  python -m orchestrator accept latest 'select=[resnet50-*]'
  python -m orchestrator accept runs/20261124T092728Z-3e6c34 --json

Exit codes: 0 all that was meant is accepted; 1 some cell cannot be, the others are; 2 there is no such run or cell, or the
run did not reach its end; 3 the run or the baseline is damaged, or the disk refused."""
KEY = "select="


def main(typed: Sequence[str], read: Callable[[Sequence[str]], RunSpec]) -> int:  # noqa: ARG001
    """Does what the command line after `accept` says.

    Args:
        typed: The words after the verb.
        read: Not used: there is nothing to configure.

    Returns:
        0 if all cells that were meant are accepted, else 1.

    Raises:
        UserError: There is no such run or cell, or the run did not reach its end.
        EnvironmentRefusedError: The run or the baseline is damaged, or the disk refused.
    """
    arguments = _parser().parse_args(typed)
    patterns = _patterns(arguments.select)
    folder = runs.find(arguments.run, arguments.runs)
    told = _accept(folder, patterns)
    path = folder.parent / baseline.NAME
    if arguments.json:
        sys.stdout.write(as_json(baseline=str(path), **msgspec.to_builtins(told)))
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(told, path))
    return EXIT_UNEXPECTED if told.refused else EXIT_PASSED


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("accept", DESCRIPTION, EPILOG)
    parser.add_argument("run", metavar="RUN", help="a run folder, or its name in the folder of all runs, as latest")
    parser.add_argument("select", metavar="select=[PATTERN,…]", nargs="?", help="which cells, by patterns on their identifiers")
    add_runs(parser)
    add_json(parser)
    return parser


def _patterns(typed: str | None) -> list[str]:
    if typed is None:
        return []
    if not typed.startswith(KEY):
        raise UserError(f"{typed}: accept takes a run, and 'select=[PATTERN,…]'")
    patterns = [text.strip() for text in typed.removeprefix(KEY).removeprefix("[").removesuffix("]").split(",")]
    if not all(patterns):
        raise UserError(f"{typed}: names no cell; write for example 'select=[resnet50-*]'")
    return patterns


def _accept(folder: Path, patterns: Sequence[str]) -> Acceptance:
    plan, records = read_run(folder)
    report = summarise(plan, records)
    if report.run.status is not RunStatus.FINISHED:
        raise UserError(f"{folder}: did not reach its end; python -m orchestrator resume {folder} goes on with it")
    names = [cell.id for cell in report.cells]
    with held(folder.parent):
        before = baseline.read(folder.parent)
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in (*names, *before.cells)):
                raise UserError(f"{KEY}{pattern}: matches none of the {len(names)} cells; they are called as {names[0]}")
        files = {name: result.files for name, result in outcomes(records).items()}
        after, told = baseline.accept(before, plan, report, files, patterns)
        baseline.write(folder.parent, after)
    return told


def _lines(told: Acceptance, path: Path) -> Iterator[str]:
    yield from (wording.visible(f"not accepted  {cell}: {why}") for cell, why in told.refused.items())
    yield from (wording.visible(f"dropped       {cell}") for cell in told.dropped)
    yield f"{wording.count(len(told.accepted), 'cell')} accepted in {path}"
