"""The folder of all runs: which run folders there are, and which one is meant. What is in them is the business of others."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from orchestrator.errors import UserError

RUNS = Path("runs")
"""Where they are unless `hydra.sweep.dir` says otherwise."""
RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]+")


def new_id(now: datetime) -> str:
    """A name for the folder of a run that begins now, so that names sort as runs begin and two processes do not meet.

    It is the time in UTC, then in hexadecimal its microseconds and two digits by chance.
    """
    return f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond:05x}{secrets.token_hex(1)}"


def newest_first(runs: Path) -> Iterator[Path]:
    """The run folders, by the time in their names; none if there is no such folder."""
    folders = runs.iterdir() if runs.is_dir() else iter(())
    yield from sorted((folder for folder in folders if RUN_ID.fullmatch(folder.name)), reverse=True)


def find(typed: str | None, runs: Path = RUNS) -> Path:
    """The run folder that is meant, absolute and without links; whether it is one shows when it is read.

    Args:
        typed: A folder, or the name of one in the folder of all runs, such as `latest`; None for the newest.
        runs: The folder of all runs.

    Raises:
        UserError: There is no such folder.
    """
    if typed is None:
        if newest := next(newest_first(runs), None):
            return newest.resolve()
        raise UserError(f"there is no run in {runs} yet; name a run folder")
    for path in (Path(typed), runs / typed):
        if path.is_dir():
            return path.resolve()
    raise UserError(f"{typed}: there is no such folder, nor one of that name in {runs}")
