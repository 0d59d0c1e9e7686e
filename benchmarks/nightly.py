"""What a second worker brings: `python -m benchmarks.nightly [FLEET]` runs a fleet with one worker and with two, a thread each.

Prints the seconds of both from the beginning to the end of the run, Ray's start included (4 s), and their ratio.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path


def seconds(fleet: str, workers: int) -> float:
    """Of a run in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "orchestrator", f"+fleet={fleet}", f"hydra.sweep.dir={folder}"]
        limits = [f"cluster.workers={workers}", "cluster.threads_per_worker=1"]
        subprocess.run([*command, *limits], check=True, stdout=subprocess.DEVNULL)
        run = json.loads((Path(folder) / "latest/report.json").read_text())["run"]
    return (datetime.fromisoformat(run["finished"]) - datetime.fromisoformat(run["started"])).total_seconds()


def main() -> None:
    """Measure and print."""
    fleet = sys.argv[1] if len(sys.argv) > 1 else "nightly"
    one, two = seconds(fleet, 1), seconds(fleet, 2)
    print(f"{fleet}: {one:.0f} s with one worker, {two:.0f} s with two: {one / two:.2f}")


if __name__ == "__main__":
    main()
