"""What the orchestrator itself costs: cells that do nothing, through plan, Ray, sandbox, ledger and report.

`python -m benchmarks.overhead` prints milliseconds per cell where units hold many cells and where each holds one, and the
driver's memory for 1,000 and for 10,000 cells. Each figure is of a process of its own; start-up is left out.
"""

from __future__ import annotations

import functools
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import noop
from orchestrator.commands import run as command
from orchestrator.schedulers import base
from orchestrator.spec import (
    BuildSpec,
    CellRequest,
    ClusterSpec,
    ExporterSpec,
    Limits,
    ModelSpec,
    RunSettings,
    RunSpec,
    Target,
    VerifyLevel,
    VerifySpec,
    WeightsSpec,
)

FEW = 8


def main() -> None:
    """Measure in processes of their own and print a line per figure."""
    few, _ = measured(FEW, 1)
    for units, cells in ((20, 100), (1000, 1)):
        seconds, memory = measured(units, cells)
        each = (seconds - few) / (units * cells - FEW)
        print(f"{units * cells} cells in {units} units: {1000 * each:.1f} ms a cell, driver {memory:.0f} MB")
    for units in (10, 100):
        _, memory = measured(units, 100)
        print(f"{units * 100} cells: driver {memory:.0f} MB")


def measured(units: int, cells: int) -> tuple[float, float]:
    """Seconds and megabytes of a run in a process of its own."""
    arguments = [sys.executable, "-m", "benchmarks.overhead", str(units), str(cells)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    seconds, memory = done.stderr.split()[-2:]
    return float(seconds), float(memory)


def once(units: int, cells: int) -> None:
    """Run and write seconds and megabytes to stderr."""
    load = base.load
    base.load = lambda kind: functools.partial(load(kind), program=noop.PROGRAM)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command.run(wished(Path(folder), units, cells), {})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stderr.write(f"\n{time.perf_counter() - began} {peak}\n")


def wished(folder: Path, units: int, cells: int) -> RunSpec:
    """Models with as many cells each; opsets that do not exist are nothing to a unit that does nothing."""
    build = BuildSpec(target="torch.nn.Identity", arguments={})
    workers = os.cpu_count() or 1
    settings = RunSettings(
        runs=str(folder / "runs"),
        store=str(folder / "store"),
        cluster=ClusterSpec(kind="local", workers=workers, threads_per_worker=1),
        trust=(),
        require_targets=False,
        overrides=(),
    )
    requests = (
        CellRequest(
            model=ModelSpec(name=f"m{unit}", build=build, weights=WeightsSpec(seed=0), dims={}, inputs=(), outputs=()),
            exporter=ExporterSpec(name="dynamo", options={}),
            opset=opset,
            dtype="float32",
            target=Target(name="cpu", device="cpu", provider="CPUExecutionProvider"),
            verify=VerifySpec(level=VerifyLevel.QUICK, seed=0, k=8.0),
            limits=Limits(seconds=600, memory=1 << 33, log=1 << 24),
        )
        for unit in range(units)
        for opset in range(cells)
    )
    return RunSpec(settings=settings, requests=tuple(requests))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        once(int(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
