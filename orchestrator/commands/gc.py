"""The verb gc: says what of the store nobody needs, and removes it if that is asked for."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from orchestrator import baseline, runs
from orchestrator.commands.parser import parser_of
from orchestrator.declaration import bytes_of
from orchestrator.errors import UserError
from orchestrator.report import wording
from orchestrator.spec import RunSpec
from orchestrator.store import gc

DESCRIPTION = """\
Says what of the store can go, and with --delete removes it: outcomes that no run and no baseline refers to and nobody asked
for in --keep days, files that nothing refers to, leftovers of killed writers. Whatever was written or used in the last day
stays. What went is made anew when it is wanted again."""
EPILOG = """\
examples:
  python -m orchestrator gc
  python -m orchestrator gc --keep 7 --max-size 200GB --delete
  python -m orchestrator gc --keep-runs 90 --delete
  python -m orchestrator gc --store /shared/store --runs /home/a/runs --runs /home/b/runs

Runs in folders that are not named with --runs keep their folders, but `report` can no longer rebuild them.
Exit codes: 0 done; 2 what was typed is wrong; 3 it is no store, another collection is at work, or a run cannot be read."""
DAY = 24 * 3600


def main(typed: Sequence[str], read: Callable[[Sequence[str]], RunSpec]) -> int:  # noqa: ARG001
    """Does what the command line after `gc` says.

    Args:
        typed: The words after the verb.
        read: Not used: there is nothing to configure.

    Returns:
        0.

    Raises:
        UserError: What was typed is wrong.
        EnvironmentRefusedError: It is no store, a run cannot be read, another collection is at work, or the disk refused.
    """
    arguments = _parser().parse_args(typed)
    folders = [Path(folder) for folder in arguments.runs or [runs.RUNS]]
    store = Path(arguments.store) if arguments.store else folders[0] / ".store"
    limit = None if arguments.max_size is None else bytes_of(arguments.max_size)
    if arguments.max_size is not None and limit is None:
        raise UserError(f"--max-size {arguments.max_size}: no size; write for example 500MB or 200GiB")
    if arguments.keep < 1:
        raise UserError(f"--keep {arguments.keep}: at least one day")
    if arguments.keep_runs is not None and arguments.keep_runs < 1:
        raise UserError(f"--keep-runs {arguments.keep_runs}: at least one day")
    with gc.locked(store):
        old = gc.old_runs(folders, datetime.now(UTC), arguments.keep_runs) if arguments.keep_runs else []
        size = sum(map(gc.bytes_of, old))
        roots = gc.runs_of(folders, store, gone=old)
        garbage = gc.find(store, roots, time.time(), arguments.keep * DAY, limit, baseline.files(folders))
        if arguments.delete:
            for run in old:
                gc.remove_run(run)
            gc.remove(garbage)
    if old:
        sys.stdout.write(f"  {'runs':<10} {len(old):>8,}  {wording.size(size):>8}\n")
    sys.stdout.writelines(f"{line}\n" for line in _lines(garbage, deleted=arguments.delete))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("gc", DESCRIPTION, EPILOG)
    parser.add_argument("--delete", action="store_true", help="remove it; without this it is only told")
    parser.add_argument("--keep", type=int, default=30, metavar="DAYS", help="for which unwanted outcomes stay (30)")
    parser.add_argument("--max-size", metavar="SIZE", help="of the blobs that stay; the least wanted outcomes go first")
    parser.add_argument(
        "--keep-runs", type=int, metavar="DAYS", help="remove folders of older runs too, but the newest; else none"
    )
    parser.add_argument("--runs", action="append", metavar="DIR", help="folder of run folders whose results stay (runs)")
    parser.add_argument("--store", metavar="DIR", help="the store (.store in the first folder of runs)")
    return parser


def _lines(garbage: gc.Garbage, *, deleted: bool) -> list[str]:
    parts = (("outcomes", garbage.entries), ("blobs", garbage.blobs), ("leftovers", garbage.leftovers))
    told = [f"  {name:<10} {len(items):>8,}  {wording.size(sum(item.bytes for item in items)):>8}" for name, items in parts]
    size = wording.size(sum(item.bytes for item in garbage.items))
    verdict = f"{size} {'removed' if deleted else 'can go; --delete removes them'}, {wording.size(garbage.kept)} stay"
    return [*told, verdict]
