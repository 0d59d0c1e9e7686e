"""A unit without torch: the stages and events of a real one, and in one stage a deed. The task's model says which and when."""

# ruff: noqa: T201
from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from orchestrator.result import CellFinished, CellResult, Event, Stage, StageStarted, Status
from orchestrator.spec import (
    BuildSpec,
    Cell,
    ExporterSpec,
    Limits,
    ModelSpec,
    Target,
    Unit,
    UnitTask,
    VerifyLevel,
    VerifySpec,
    WeightsSpec,
)
from tests.misbehaving import deeds

FUNCTION = "tests.misbehaving.units:run"
LIMITS = Limits(seconds=120, memory=400 << 20, log=200_000)


def make_task(
    store: Path, *cells: str, deed: str = "nothing", when: str = "build", limits: Limits = LIMITS, name: str = "unit"
) -> UnitTask:
    """A unit that does the deed `when` a stage begins (`build`, `capture`, `emit`, `emit <cell>`, …) or `after <cell>`."""
    model = ModelSpec(
        name=name,
        build=BuildSpec(target="tests.fake", arguments={"deed": deed, "when": when}),
        weights=WeightsSpec(seed=0),
        dims={},
        inputs=(),
        outputs=(),
    )
    target = Target(name="cpu", device="cpu", provider="CPUExecutionProvider")
    unit = Unit(
        id=name,
        model=model,
        exporter=ExporterSpec(name="fake", options={}),
        dtype="float32",
        verify=VerifySpec(level=VerifyLevel.QUICK, seed=0, k=8),
        limits=limits,
        cells=tuple(Cell(id=cell, opset=20, target=target) for cell in cells),
    )
    return UnitTask(unit=unit, store=str(store), trust=(), threads=1)


def run(task: UnitTask, folder: Path) -> Iterator[Event]:
    """Like orchestrator.unit.run."""
    unit = task.unit
    for stage in (Stage.BUILD, Stage.CAPTURE):
        yield StageStarted(unit=unit.id, cell=None, stage=stage)
        print(f"{stage} for all")
        _act(task, stage.value)
    (folder / "weights").write_bytes(b"0" * 100)
    for cell in unit.cells:
        if cell.id in task.done or cell.skip is not None:
            continue
        for stage in (Stage.EMIT, Stage.VERIFY):
            yield StageStarted(unit=unit.id, cell=cell.id, stage=stage)
            print(f"{stage} {cell.id}")
            _act(task, f"{stage} {cell.id}")
        yield CellFinished(result=CellResult(cell=cell.id, status=Status.PASSED, reason="", durations={"emit": 1.0}))
        _act(task, f"after {cell.id}")


def forget(task: UnitTask, folder: Path) -> Iterator[Event]:
    """A unit that ends too early."""
    events = run(task, folder)
    for event in events:
        yield event
        if isinstance(event, CellFinished):
            return


def show_environment(task: UnitTask, _folder: Path) -> Iterator[Event]:
    """Print what a unit sees of its environment."""
    yield StageStarted(unit=task.unit.id, cell=None, stage=Stage.BUILD)
    print(json.dumps(dict(os.environ)))
    for cell in task.unit.cells:
        yield CellFinished(result=CellResult(cell=cell.id, status=Status.PASSED, reason=""))


def _act(task: UnitTask, moment: str) -> None:
    arguments = task.unit.model.build.arguments
    if arguments["when"] in (moment, moment.partition(" ")[0]):
        getattr(deeds, arguments["deed"])()
