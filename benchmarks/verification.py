"""What verification costs in processor seconds, with one thread: `python -m benchmarks.verification [MODEL,…]`.

Prints Markdown: per model, exporter and level the verify stage and beside it the reference stage, which the model's cells
share, and what one independent `torch.onnx.export(dynamo=True)` of the model takes. Each figure is of a process of its own,
children included: other programs on the machine do not count, waiting for a disk does not either.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.result import CellFinished, CellResult, Event, Stage, StageStarted, Status
from orchestrator.spec import UnitTask

MODELS = "resnet50,bert_base,vit_b_16"
EXPORTERS = ("dynamo", "torchscript")
LEVELS = ("quick", "standard", "strict")
FIGURES = "BENCHMARK_FIGURES"
"""Environment variable with the file that a child leaves its figures in."""


def main() -> None:
    """Measure in processes of their own and print a line per model and exporter."""
    models = (sys.argv[1] if len(sys.argv) > 1 else MODELS).split(",")
    levels = " | ".join(f"{level}: verify (reference)" for level in LEVELS)
    print(f"| model | exporter | {levels} | dynamo export | standard ÷ export |")
    print("| :-- | :-- " + "| --: " * (len(LEVELS) + 2) + "|")
    for model in models:
        export = measured("alone", model, "dynamo", "quick")["export"]
        for exporter in EXPORTERS:
            spent = [measured("unit", model, exporter, level) for level in LEVELS]
            cells = " | ".join(f"{each['verify']:.1f} ({each['reference']:.1f})" for each in spent)
            ratio = spent[LEVELS.index("standard")]["verify"] / export
            print(f"| {model} | {exporter} | {cells} | {export:.1f} | {ratio:.2f} |", flush=True)


def measured(what: str, model: str, exporter: str, level: str) -> Mapping[str, float]:
    """Seconds by stage; `export` for the export alone."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        overrides = [f"+model={model}", f"exporter={exporter}", f"verify={level}", f"hydra.sweep.dir={folder}/runs"]
        command = [sys.executable, "-m", "benchmarks.verification", what, *overrides, *OVERRIDES]
        environment = os.environ | {FIGURES: str(figures), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert figures.exists(), done.stdout + done.stderr
        return json.loads(figures.read_bytes())  # type: ignore[no-any-return]


OVERRIDES = ("cluster=inline", "cluster.threads_per_worker=1", "deliver=none", "terminal=quiet", "limits.memory=16GiB")


def child(what: str) -> None:
    """An ordinary run in this process whose unit counts."""
    from orchestrator.__main__ import main as command
    from orchestrator.schedulers import base

    load = base.load
    program = base.Program(function=f"benchmarks.verification:{what}", preload=())
    base.load = lambda kind: functools.partial(load(kind), program=program)  # type: ignore[assignment]
    del sys.argv[1]
    command()


def unit(task: UnitTask, folder: Path) -> Iterator[Event]:
    """An ordinary unit, its processor seconds by stage."""
    from orchestrator import preload, unit

    preload.load()
    events, stage = unit.run(task, folder), Stage.BUILD
    spent: dict[str, float] = dict.fromkeys(Stage, 0.0)
    while True:
        began = _processor()
        event = next(events, None)
        spent[stage] += _processor() - began
        if event is None:
            break
        if isinstance(event, StageStarted):
            stage = event.stage
        yield event
    _leave(spent)


def alone(task: UnitTask, folder: Path) -> Iterator[Event]:
    """The export that a script would do, of the same module and example, with everything imported before."""
    import torch

    from exporters import shapes
    from exporters.base import Example
    from orchestrator import preload
    from orchestrator.build import module as module_builder
    from orchestrator.verify import probes

    preload.load()
    (cell,) = task.unit.cells
    yield StageStarted(unit=task.unit.id, cell=cell.id, stage=Stage.BUILD)
    module_builder.use_threads(task.threads)
    built = module_builder.build(task.unit.model, task.unit.dtype, task.trust, Path(task.store))
    specs = module_builder.exported_specs(built.model)
    values = probes.draw(specs, probes.example_sizes(built.model.dims, specs), task.unit.verify.seed, task.unit.dtype)
    example = Example(specs=specs, values=values, outputs=tuple(output.name for output in built.model.outputs))
    given: dict[str, Any] = {
        "kwargs": {spec.name: values[spec.name] for spec in specs if spec.keyword},
        "dynamic_shapes": shapes.dynamic_shapes(built.module.forward, example, built.model.dims),
        "input_names": [spec.name for spec in specs],
        "output_names": list(example.outputs),
    }
    positional = tuple(values[spec.name] for spec in specs if not spec.keyword)
    began = _processor()
    with warnings.catch_warnings(action="ignore"):
        path = folder / "model.onnx"
        torch.onnx.export(built.module, positional, path, opset_version=cell.opset, dynamo=True, external_data=True, **given)
    _leave({"export": _processor() - began})
    yield CellFinished(result=CellResult(cell=cell.id, status=Status.UNVERIFIED, reason="exported only"))


def _processor() -> float:
    """Seconds of this process and of the children that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _leave(figures: Mapping[str, float]) -> None:
    Path(os.environ[FIGURES]).write_text(json.dumps(figures))


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in ("unit", "alone"):
        child(sys.argv[1])
    else:
        main()
