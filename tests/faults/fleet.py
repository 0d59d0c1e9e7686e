"""`python -m tests.faults.fleet FOLDER` is a run of small cells without torch on a real Ray; with a RUN it is resumed.

A cell takes 50 to 100 ms and its artifact goes to the store, so that delivery, index and cache take part. JOURNAL names a file
that gets a line when a cell begins and one when it is done: who did it how often is told by nobody else. STORE names
another store than the one in FOLDER.
"""

# ruff: noqa: T201
from __future__ import annotations

import functools
import os
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.commands import resume
from orchestrator.commands import run as command
from orchestrator.errors import OrchestratorError
from orchestrator.result import (
    Artifact,
    CellFinished,
    CellResult,
    Check,
    CheckStatus,
    Event,
    FileRef,
    Stage,
    StageStarted,
    Status,
)
from orchestrator.schedulers import base
from orchestrator.schedulers.base import Program
from orchestrator.spec import (
    BuildSpec,
    Cell,
    CellRequest,
    ClusterSpec,
    ExporterSpec,
    Limits,
    ModelSpec,
    RunSettings,
    RunSpec,
    Target,
    UnitTask,
    VerifyLevel,
    VerifySpec,
    WeightsSpec,
)
from orchestrator.store.blobs import BlobStore

UNITS = 6
OPSETS = (17, 18, 19, 20)
CELLS = UNITS * len(OPSETS)
WORKERS = 2
PROGRAM = Program(function="tests.faults.fleet:run", preload=("tests.faults.fleet",))
BEGUN, DONE = "begun", "done"


def main(folder: Path, *resumed: str) -> int:
    load = base.load
    base.load = lambda kind: functools.partial(load(kind), program=PROGRAM)
    try:
        return resume.main(resumed, _never) if resumed else command.run(wished(folder), {})
    except OrchestratorError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def wished(folder: Path) -> RunSpec:
    """UNITS models in OPSETS each."""
    settings = RunSettings(
        runs=str(folder / "runs"),
        store=os.environ.get("STORE", str(folder / "store")),
        cluster=ClusterSpec(kind="local", workers=WORKERS, threads_per_worker=1),
        trust=(),
        require_targets=False,
        overrides=(),
    )
    build = BuildSpec(target="torch.nn.Identity", arguments={})
    requests = (
        CellRequest(
            # The seed tells the units apart: equal ones would have equal keys.
            model=ModelSpec(name=f"m{unit}", build=build, weights=WeightsSpec(seed=unit), dims={}, inputs=(), outputs=()),
            exporter=ExporterSpec(name="dynamo", options={}),
            opset=opset,
            dtype="float32",
            target=Target(name="cpu", device="cpu", provider="CPUExecutionProvider"),
            verify=VerifySpec(level=VerifyLevel.QUICK, seed=0, k=8.0),
            limits=Limits(seconds=60, memory=1 << 30, log=1 << 20),
        )
        for unit in range(UNITS)
        for opset in OPSETS
    )
    return RunSpec(settings=settings, requests=tuple(requests))


def run(task: UnitTask, _folder: Path) -> Iterator[Event]:
    """Like orchestrator.unit.run."""
    unit, store = task.unit, BlobStore(Path(task.store))
    yield StageStarted(unit=unit.id, cell=None, stage=Stage.BUILD)
    weights = _put(store, f"weights-{unit.model.name}.data", unit.model.name.encode() * 10_000)
    yield StageStarted(unit=unit.id, cell=None, stage=Stage.CAPTURE)
    for cell in unit.cells:
        if cell.id in task.done:
            continue
        _note(BEGUN, cell.id)
        yield StageStarted(unit=unit.id, cell=cell.id, stage=Stage.EMIT)
        print(f"emit {cell.id}")
        time.sleep(seconds(cell.id) / 2)
        graph = _put(store, f"dynamo-opset{cell.opset}.onnx", cell.id.encode() * 100)
        yield StageStarted(unit=unit.id, cell=cell.id, stage=Stage.VERIFY)
        time.sleep(seconds(cell.id) / 2)
        attachments = (_put(store, "sources.json", b"{}"), _put(store, "test_data_set_0/input_0.pb", b"0" * 100))
        _note(DONE, cell.id)
        yield CellFinished(result=_passed(cell, (graph, weights), attachments))


def seconds(cell: str) -> float:
    """That a cell takes, always the same."""
    return 0.05 + 0.05 * (zlib.crc32(cell.encode()) % 100) / 100


def _passed(cell: Cell, files: tuple[FileRef, ...], attachments: tuple[FileRef, ...]) -> CellResult:
    return CellResult(
        cell=cell.id,
        status=Status.PASSED,
        reason="",
        checks=tuple(Check(id=name, status=CheckStatus.PASSED, detail="") for name in ("interface", "parity")),
        artifact=Artifact(
            files=files, opset=cell.opset, ir_version=10, op_counts={"Identity": 1}, inputs=(), outputs=(), made_from="exported"
        ),
        attachments=attachments,
    )


def _put(store: BlobStore, name: str, data: bytes) -> FileRef:
    sha256, size = store.put_bytes(data)
    return FileRef(name=name, sha256=sha256, bytes=size)


def _note(what: str, cell: str) -> None:
    with Path(os.environ["JOURNAL"]).open("a") as journal:
        journal.write(f"{what} {cell}\n")


def _never(_: Sequence[str]) -> RunSpec:
    raise AssertionError("the folder's plan says everything")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
