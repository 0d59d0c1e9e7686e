"""Starts real runs of `fleet`, in folders that are short enough for Ray's sockets, and reads what they reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from orchestrator import layout, runs
from tests.misbehaving.family import living, marked, started

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0
"""Ray's agents look for their daemon once a minute."""


class RealRun:
    """A driver that was started in a folder of its own."""

    def __init__(self, folder: Path, *resumed: str, **environment: str) -> None:
        """Start it.

        Args:
            folder: Takes the runs, and beside them temporary files and a journal.
            resumed: The run to resume, if it is no new one.
            environment: More variables.
        """
        (folder / "t").mkdir(parents=True, exist_ok=True)
        self.folder = folder
        paths = {"TMPDIR": str(folder / "t"), "JOURNAL": str(folder / "journal"), **marked(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.fleet", str(folder), *resumed],
            cwd=ROOT,
            env={**os.environ, **paths, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str]:
        """Wait for it.

        Returns:
            Its exit code and what it wrote to stderr.
        """
        _, said = self.process.communicate(timeout=180)
        return self.process.returncode, said

    def left(self) -> list[str]:
        """The names of processes that it left running."""
        _, alive = psutil.wait_procs(living(started(self.folder)), timeout=PATIENCE_SECONDS)
        return [process.name() for process in alive]


def run_folder(folder: Path) -> Path:
    """Of the newest run below the folder of a RealRun."""
    return next(runs.newest_first(folder / "runs"))


def report(folder: Path) -> dict[str, Any]:
    """Of the newest run."""
    found: dict[str, Any] = json.loads((run_folder(folder) / layout.REPORT_JSON).read_bytes())
    return found
