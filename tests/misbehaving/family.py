"""Who is still there."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

PATIENCE_SECONDS = 10.0


def living(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that run; a dead one counts as gone although nobody has asked for its exit code yet."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_for_the_end_of(processes: Iterable[psutil.Process]) -> None:
    """Until none lives: what is killed takes some milliseconds to die."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left := living(processes):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def marked(folder: Path) -> dict[str, str]:
    """An environment that everything inherits that a run starts: Ray, fork servers, workers, what they leave behind."""
    return {"STARTED_BY_TEST": str(folder)}


def started(folder: Path) -> list[psutil.Process]:
    """What runs of what was started with that mark."""
    return [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("STARTED_BY_TEST") == str(folder)
    ]
