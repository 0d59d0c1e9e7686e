"""What isolation, ledger and store cost: CPU seconds of a whole run with them ÷ those of the same units without.

`python -m benchmarks.isolation [MODELS [OPSETS]]`, on a quiet machine; without arguments the 36 cells of resnet50, vit_b_16 and
bert_base with both exporters at opsets 18 to 23. User and system seconds of all processes, Ray's too; one worker, one thread.
Without: one process does the units one after the other, its files are not synced and its outcomes not kept.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from orchestrator.folder import read_plan
from orchestrator.schedulers import inline
from orchestrator.spec import UnitTask
from tests.faults.disks import Unsynced, installed

DEFAULTS = ("resnet50,vit_b_16,bert_base", "18,19,20,21,22,23")
GOAL = 1.10
LOOK_SECONDS = 0.1
"""Between two looks at the processes: of each that ends, so much is not seen at most."""


def main() -> None:
    """Measure both and print their seconds and the ratio."""
    models, opsets = (*sys.argv[1:], *DEFAULTS[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "orchestrator",
            f"hydra.sweep.dir={folder}/runs",
            f"+model={models}",
            f"opset={opsets}",
        ]
        command += ["exporter=dynamo,torchscript", "verify=quick", "cluster.workers=1", "cluster.threads_per_worker=1"]
        whole = cpu_seconds(command)
        run = str((Path(folder) / "runs" / "latest").resolve())
        bare = cpu_seconds([sys.executable, "-m", "benchmarks.isolation", "bare", run, f"{folder}/bare"])
    print(f"{whole:.1f} s with isolation, ledger and store, {bare:.1f} s without: {whole / bare:.3f}, the goal is {GOAL:.2f}")


def cpu_seconds(command: Sequence[str]) -> float:
    """Of a command and everything below it, by looking again and again; what Ray's daemon reaps nobody else could tell."""
    seen: dict[psutil.Process, float] = {}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as started:
        root = psutil.Process(started.pid)
        while started.poll() is None:
            with suppress(psutil.NoSuchProcess):
                for process in (root, *root.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess):
                        times = process.cpu_times()
                        seen[process] = times.user + times.system
            time.sleep(LOOK_SECONDS)
    assert started.returncode == 0, command
    return sum(seen.values())


def do_without(run: Path, store: Path) -> None:
    """The units of a run, in this process."""
    plan = read_plan(run)
    tasks = [UnitTask(unit=unit, store=str(store), trust=plan.settings.trust, threads=1) for unit in plan.units]
    with installed(Unsynced()):
        for _ in inline.run(tasks, plan.settings.cluster):
            pass


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        do_without(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
