"""What sharing saves: `python -m benchmarks.sharing [MODELS [OPSETS]]` on a quiet machine, all from the shell prompt on.

Against `loop36.py`, which is what a competent user writes, and against a process per cell, which is one of `loop36.py` for each
model and exporter, times the opsets. Then what one more opset costs, the work of all opsets beside that of one, disk, memory.
Prints JSON; `benchmarks/picture.py` draws it.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOOP = ROOT / "benchmarks/loop36.py"
DEFAULTS = ("resnet50,vit_b_16,bert_base", "18,19,20,21,22,23")
EXPORTERS = ("dynamo", "torchscript")
ONE = "20"
"""The opset that stands for one."""
Report = Mapping[str, Any]


def main() -> None:
    """Measure and print."""
    models, opsets = (*sys.argv[1:], *DEFAULTS[len(sys.argv) - 1 :])
    *fewer, last = opsets.split(",")
    with tempfile.TemporaryDirectory() as folder:
        loop = loop36(folder, models, opsets)
        fresh = [loop36(folder, model, ONE, exporter) for model in models.split(",") for exporter in EXPORTERS]
        ours = orchestrator(Path(folder) / "all", models, opsets)
        grown = Path(folder) / "grown"
        orchestrator(grown, models, ",".join(fewer))
        more = orchestrator(grown, models, opsets)
        one = orchestrator(Path(folder) / "one", models, ONE)
    each = sum(cell["seconds"] for cell in fresh) * len(opsets.split(","))
    ran = [cell["id"] for cell in more["report"]["cells"] if cell["origin"] == "ran"]
    answer = {
        "seconds": {"process per cell": each, "loop36": loop["seconds"], "ours": ours["seconds"]},
        "loop36 / ours": loop["seconds"] / ours["seconds"],
        "process per cell / ours": each / ours["seconds"],
        "one more opset": {"seconds": more["seconds"], "cells that ran": len(ran), "of them at that opset": _at(ran, last)},
        "work of all opsets / that of one": _work_ratios(ours["report"], one["report"]),
        "bytes": {"loop36": loop["bytes"], "store": ours["store"], "run folder": ours["artifacts"]},
        "store / loop36": ours["store"] / loop["bytes"],
        "peak memory": _peaks(ours["report"]),
        "stages": {
            "process per cell": _times(_sum(_loop_stages(cell) for cell in fresh), len(opsets.split(","))),
            "loop36": _loop_stages(loop),
            "ours": _our_stages(ours),
        },
        "status": ours["report"]["counts"],
    }
    print(json.dumps(answer, indent=1))


def loop36(folder: str, models: str, opsets: str, exporters: str = ",".join(EXPORTERS)) -> dict[str, Any]:
    """Run the baseline; its own words give the stages and the disk."""
    began = time.perf_counter()
    command = [sys.executable, str(LOOP), models, opsets, exporters]
    told = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    seconds = time.perf_counter() - began
    imports = float(re.search(r"^imports ([\d.]+)", told, re.M)[1])  # type: ignore[index]
    inside, spent, fails = re.search(r"^cells \d+ seconds ([\d.]+) (\{.*\}) fails (.*)$", told, re.M).groups()  # type: ignore[union-attr]
    assert fails == "[]", fails
    size = re.search(r"^([\d.]+)([KMG])\t", told, re.M).groups()  # type: ignore[union-attr]
    scale = {"K": 2**10, "M": 2**20, "G": 2**30}[size[1]]
    return {
        "seconds": seconds,
        "imports": imports,
        "inside": float(inside),
        "spent": ast.literal_eval(spent),
        "bytes": float(size[0]) * scale,
    }


def orchestrator(folder: Path, models: str, opsets: str) -> dict[str, Any]:
    """Run ours in a folder, whose store may hold earlier work."""
    sweep = [f"+model={models}", f"exporter={','.join(EXPORTERS)}", f"opset={opsets}", "verify=quick"]
    command = [sys.executable, "-m", "orchestrator", "-m", *sweep, f"hydra.sweep.dir={folder}"]
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "report": json.loads((folder / "latest/report.json").read_text()),
        "store": _bytes_below(folder / ".store"),
        "artifacts": _bytes_below((folder / "latest").resolve()),
    }


def _bytes_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _at(cells: Iterable[str], opset: str) -> int:
    return sum(f"-opset{opset}-" in cell for cell in cells)


def _work(report: Report) -> dict[str, float]:
    """Capture, emission and writing, by model and exporter."""
    work: dict[str, float] = {}
    for cell in report["cells"]:
        key = f"{cell['model']} {cell['exporter']}"
        work[key] = work.get(key, 0.0) + cell["durations"]["capture"] + cell["durations"]["emit"]
    return work


def _work_ratios(several: Report, one: Report) -> dict[str, float]:
    alone = _work(one)
    return {key: seconds / alone[key] for key, seconds in _work(several).items()}


def _peaks(report: Report) -> dict[str, int]:
    """Bytes held at most, by model and exporter."""
    peaks: dict[str, int] = {}
    for cell in report["cells"]:
        key = f"{cell['model']} {cell['exporter']}"
        peaks[key] = max(peaks.get(key, 0), cell["peak_memory"] or 0)
    return peaks


def _loop_stages(loop: Mapping[str, Any]) -> dict[str, float]:
    check = loop["spent"].get("check", 0.0)
    export = sum(loop["spent"].values()) - check
    start = loop["seconds"] - loop["inside"]
    return {
        "start and imports": start,
        "build and reference": loop["inside"] - export - check,
        "export": export,
        "verify": check,
    }


def _our_stages(ours: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of all workers ÷ their number; the rest of the run is its start and end, and one worker waiting for the other."""
    seconds = {"build and reference": 0.0, "export": 0.0, "verify": 0.0}
    shared: set[tuple[str, str, str]] = set()
    for cell in ours["report"]["cells"]:
        spent = cell["durations"]
        seconds["export"] += spent["capture"] + spent["emit"]
        seconds["verify"] += spent["verify"]
        if (unit := (cell["model"], cell["exporter"], cell["dtype"])) not in shared:
            shared.add(unit)
            seconds["build and reference"] += spent["build"] + spent["reference"]
    workers = min(os.cpu_count() or 1, len(shared))
    stages = {name: value / workers for name, value in seconds.items()}
    return {"start and imports": ours["seconds"] - sum(stages.values()), **stages}


def _sum(stages: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for each in stages:
        for name, seconds in each.items():
            total[name] = total.get(name, 0.0) + seconds
    return total


def _times(stages: Mapping[str, float], count: int) -> dict[str, float]:
    return {name: seconds * count for name, seconds in stages.items()}


if __name__ == "__main__":
    main()
