"""The verb audit: is everything in a run folder and in the store what was written there? Deletes nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from orchestrator import runs
from orchestrator.audit import audit_run
from orchestrator.commands.parser import add_json, add_run, as_json, parser_of
from orchestrator.errors import EXIT_PASSED, EXIT_UNEXPECTED
from orchestrator.report import wording
from orchestrator.spec import RunSpec
from orchestrator.store.audit import Problem, Tally, audit_store

STORE = runs.RUNS / ".store"
"""Where it is unless `store.path` says otherwise."""
DESCRIPTION = """\
Reads every byte of a run folder, or of the store, again. A run folder is compared with what its plan and its ledger say that
it holds; a file of the store with the digest that is its name. What is damaged in the store is set aside as *.bad, so that
nobody is served it; nothing is deleted, and a run folder is only read."""
EPILOG = """\
examples:
  python -m orchestrator audit
  python -m orchestrator audit runs/20261124T092728Z-3e6c34 --json
  python -m orchestrator audit --store
  python -m orchestrator audit latest --store /mnt/shared/store

Exit codes: 0 nothing is wrong; 1 something is, a line each; 2 there is no such folder; 3 it is no run or no store, or the
run is still going on."""


def main(typed: Sequence[str], read: Callable[[Sequence[str]], RunSpec]) -> int:  # noqa: ARG001
    """Does what the command line after `audit` says.

    Args:
        typed: The words after the verb.
        read: Not used: there is nothing to configure.

    Returns:
        0 if nothing is wrong, else 1.

    Raises:
        UserError: There is no such run folder.
        EnvironmentRefusedError: It is no run, or no store; or the run is going on.
    """
    arguments = _parser().parse_args(typed)
    run = runs.find(arguments.run) if arguments.run or not arguments.store else None
    store = Path(arguments.store).absolute() if arguments.store else None
    tally, problems = Tally(), []
    for problem in _problems(run, store, tally):
        problems.append(problem)
        if not arguments.json:
            sys.stdout.write(f"{_line(problem)}\n")
            sys.stdout.flush()
    sys.stdout.write(_as_json(run, store, tally, problems) if arguments.json else _last_line(tally, problems))
    return EXIT_UNEXPECTED if problems else EXIT_PASSED


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("audit", DESCRIPTION, EPILOG)
    add_run(parser)
    parser.add_argument("--store", metavar="DIR", nargs="?", const=str(STORE), help=f"the store, {STORE} without DIR")
    add_json(parser)
    return parser


def _problems(run: Path | None, store: Path | None, tally: Tally) -> Iterator[Problem]:
    if run:
        yield from audit_run(run, tally)
    if store:
        yield from audit_store(store, tally)


def _line(problem: Problem) -> str:
    return wording.visible(f"{problem.kind:<10} {problem.path}: {problem.message}; {problem.next}")


def _last_line(tally: Tally, problems: Sequence[Problem]) -> str:
    before = f", {len(tally.set_aside)} set aside before" if tally.set_aside else ""
    wrong = f"{len(problems)} problem{'s' * (len(problems) > 1)}" if problems else "nothing is wrong"
    return f"{wrong}; {tally.files} files, {wording.size(tally.bytes)}, were read{before}\n"


def _as_json(run: Path | None, store: Path | None, tally: Tally, problems: Sequence[Problem]) -> str:
    return as_json(
        run=str(run) if run else None,
        store=str(store) if store else None,
        files=tally.files,
        bytes=tally.bytes,
        problems=problems,
        set_aside=tally.set_aside,
    )
