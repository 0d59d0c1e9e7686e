"""What one cell costs beside a hand-written script that does the same work: `python benchmarks/single.py [rounds]`.

Three commands in turn, each in a fresh process: `script.py`, the orchestrator inline, and the orchestrator with Ray and its
sandbox. Prints the median seconds of each, the median of the ratios round by round, and the orchestrator's seconds by stage.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIZES = "2,1,3"
"""Batch sizes at which both run artifact and model: the example, the minimum and a prime, as verify=standard does."""


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - began


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        ours = [sys.executable, "-m", "orchestrator", "+model=resnet50", "exporter=dynamo", f"hydra.sweep.dir={folder}/runs"]
        commands = {
            "script": [sys.executable, "benchmarks/script.py", "resnet50", folder, SIZES],
            "inline": [*ours, "cluster=inline"],
            "ray": [*ours, "cluster=local"],
        }
        spent: dict[str, list[float]] = {name: [] for name in commands}
        stages: dict[str, dict[str, float]] = {}
        for _ in range(rounds):
            for name, command in commands.items():
                spent[name].append(seconds(command))
                if name != "script":
                    report = json.loads((Path(folder) / "runs/latest/report.json").read_text())
                    stages[name] = report["cells"][0]["durations"]
        for name, values in spent.items():
            ratio = statistics.median(a / b for a, b in zip(values, spent["script"], strict=True))
            by_stage = "  ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages.get(name, {}).items())
            print(f"{name:8} {statistics.median(values):6.1f} s   {ratio:.2f} x script   {by_stage}")


main()
