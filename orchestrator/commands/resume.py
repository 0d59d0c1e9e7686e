"""The verb resume: goes on with a run that was interrupted or killed; what has an outcome keeps it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from orchestrator import layout, provenance, runs
from orchestrator.cache import Cache
from orchestrator.commands.parser import add_run, parser_of
from orchestrator.commands.verify import check_trust
from orchestrator.errors import UserError
from orchestrator.execute import execute
from orchestrator.folder import RunFolder, read_plan
from orchestrator.keys.cells import Keys
from orchestrator.report import terminal
from orchestrator.report.summary import outcomes, resumed
from orchestrator.result import Status
from orchestrator.spec import RunSpec
from orchestrator.store import index, ledger
from orchestrator.store.ledger import Record, RunFinished, RunStarted, RunStatus

DESCRIPTION = """\
Goes on with a run that was interrupted, killed, or ended by the environment. Cells that have an outcome keep it; the others
go through the cache and are done, with the configuration of the run and the tools that are here now."""
EPILOG = """\
examples:
  python -m orchestrator resume
  python -m orchestrator resume runs/20261124T092728Z-3e6c34

Exit codes: as of the run; 2 if there is no such run or it reached its end, 3 if it is damaged or still going on."""


def main(typed: Sequence[str], read: Callable[[Sequence[str]], RunSpec]) -> int:  # noqa: ARG001
    """Does what the command line after `resume` says.

    Args:
        typed: The words after the verb.
        read: Not used: the folder's plan says everything.

    Returns:
        0 if every cell of the run ended as expected, else 1.

    Raises:
        UserError: There is no such run, or it reached its end.
        EnvironmentRefusedError: It is damaged, another process is writing it, or workers, store or disk refuse.
        InterruptedRunError: Ctrl-C or SIGTERM, again.
    """
    arguments = _parser().parse_args(typed)
    path = runs.find(arguments.run)
    plan = read_plan(path)
    _check_unfinished(ledger.read(path / layout.LEDGER), path)
    check_trust(plan, arguments.trust)
    index.prepare(Path(plan.settings.store))
    folder, records = RunFolder.reopen(path, plan)
    kept = [resumed(result) for result in outcomes(records).values() if result.status is not Status.INFRA_ERROR]
    changes = [*_changes(records, provenance.versions())]
    for change in changes:
        sys.stderr.write(f"since the run began: {change}\n")
    folder.resume(kept, changes)
    cache = Cache(plan, Keys(plan.settings.trust), done={result.cell for result in kept})
    cache.remember_kept(kept)
    known = cache.look_up(f"{datetime.now(UTC):%Y-%m-%d}")
    return execute(plan, folder, cache, known, terminal.open_console(), kept)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("resume", DESCRIPTION, EPILOG)
    add_run(parser)
    parser.add_argument("--trust", action="append", default=[], metavar="PATTERN", help="what its models may call")
    return parser


def _check_unfinished(records: Sequence[Record], path: Path) -> None:
    if not records:
        raise UserError(f"{path}: never started; give the command of the run again")
    last = records[-1]
    if isinstance(last, RunFinished) and last.status is RunStatus.FINISHED:
        # Its driver may have been killed when all was on record and the reports were not yet written.
        raise UserError(
            f"{path}: reached its end, there is nothing to resume; python -m orchestrator report {path} writes its reports, "
            "only=failed does again what failed in it"
        )


def _changes(records: Sequence[Record], versions: Mapping[str, str]) -> Iterator[str]:
    """What is not as it was when the run began."""
    began = next(record for record in records if isinstance(record, RunStarted)).versions
    yield from provenance.changes(began, versions)
