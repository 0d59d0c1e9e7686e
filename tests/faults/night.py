"""A run of two cells with a store and an index, made without torch, that goes on from wherever it was stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from orchestrator.audit import audit_run
from orchestrator.errors import EnvironmentRefusedError, StorageError
from orchestrator.folder import RunFolder, read_plan, rebuild
from orchestrator.report.summary import outcomes
from orchestrator.result import CellResult, FileRef, Origin
from orchestrator.spec import Plan
from orchestrator.store import ledger
from orchestrator.store.audit import Tally
from orchestrator.store.blobs import BlobStore
from orchestrator.store.index import Index, prepare
from orchestrator.store.ledger import Record, RunFinished, RunStarted, RunStatus
from tests import synthetic

GRAPHS = {20: b"graph of opset 20", 18: b"graph of opset 18"}
WEIGHTS = b"weights, the same for both"
FILES = {"export.log": b"said", "test_data_set_0/input_0.pb": b"in"}
CONTENTS = (*GRAPHS.values(), WEIGHTS, *FILES.values())
CELLS = tuple(f"resnet50-dynamo-opset{opset}-float32-cpu" for opset in GRAPHS)
KEYS = {cell: hashlib.sha256(cell.encode()).hexdigest() for cell in CELLS}
Promise = Callable[[str, str], None]
"""Is told what has to be there from now on: a kind (blob, export, verify, last) and its name."""


def promise_nothing(_kind: str, _name: str) -> None:
    """For those who do not want to know."""


def plan(root: Path) -> Plan:
    return synthetic.plan(synthetic.unit(opsets=tuple(GRAPHS)), runs=str(root / "runs"), store=str(root / "store"))


def result(cell: str) -> CellResult:
    """The one outcome that a cell has."""
    opset = 20 if "opset20" in cell else 18
    graph, weights = _ref("model.onnx", GRAPHS[opset]), _ref(f"weights-{'0' * 12}.data", WEIGHTS)
    attachments = tuple(_ref(name, data) for name, data in FILES.items())
    return synthetic.result(cell, artifact=synthetic.artifact(graph, weights, opset=opset), attachments=attachments)


def parts(cell: str) -> dict[str, str]:
    return {"cell": cell}


def run(root: Path, promise: Promise = promise_nothing, stop_after: int = len(CELLS)) -> None:
    """Begin the run, or go on with it; the driver is dead after so many cells.

    Raises:
        EnvironmentRefusedError: The disk refused.
    """
    prepare(root / "store")
    folder, records = _open(root)
    try:
        if not _has_ended(records):
            _work(root, folder, records, promise, stop_after)
            return
    finally:
        # What a process does that ends; closed already if it came to its end.
        with suppress(StorageError, OSError):
            folder._ledger.close()
    rebuild(folder.path)


def put_blobs(root: Path, promise: Promise = promise_nothing) -> None:
    store = BlobStore(root / "store")
    for data in CONTENTS:
        promise("blob", store.put_bytes(data)[0])


def remember(root: Path, cell: str, promise: Promise = promise_nothing) -> None:
    index = Index(root / "store")
    index.put_exported(KEYS[cell], result(cell))
    promise("export", cell)
    index.put_verdict(KEYS[cell], result(cell))
    promise("verify", cell)
    index.put_last(cell, parts(cell))
    promise("last", cell)


def runs(root: Path) -> list[Path]:
    """The folders of runs that have begun."""
    return [path.parent for path in sorted((root / "runs").glob("2*/ledger.jsonl")) if _has_begun(path)]


def outcome(root: Path) -> list[CellResult]:
    """What is on record of the run, whenever it was done."""
    results = outcomes(ledger.read(runs(root)[-1] / "ledger.jsonl"))
    return [replace(results[cell], origin=Origin.RAN) for cell in CELLS if cell in results]


def wrongs(root: Path) -> Iterator[str]:
    """Whatever is readable although it is not whole and right; what is missing is no wrong."""
    yield from wrong_blobs(root)
    yield from wrong_entries(root)
    yield from wrong_runs(root)


def wrong_blobs(root: Path) -> Iterator[str]:
    right = {hashlib.sha256(data).hexdigest(): data for data in CONTENTS}
    store = BlobStore(root / "store")
    for sha256 in {*right, *blob_names(root)}:
        copy = root / "copy"
        try:
            store.get(sha256, copy)
        except StorageError as error:
            if not error.is_loss or copy.exists():
                yield f"blob {sha256[:8]}: {error.kind}, a copy is left: {copy.exists()}"
            continue
        data = copy.read_bytes()
        copy.unlink()
        if hashlib.sha256(data).hexdigest() != sha256:
            yield f"blob {sha256[:8]} was served with other bytes"


def blob_names(root: Path) -> list[str]:
    paths = [path for path in (root / "store" / "blobs").rglob("*") if path.is_file() and not path.suffix]
    return [path.parent.name + path.name for path in paths]


def wrong_entries(root: Path) -> Iterator[str]:
    index = Index(root / "store")
    for cell, key in KEYS.items():
        if index.exported(key) not in (None, result(cell)):
            yield f"the index has another export of {cell}"
        if index.verdict(key) not in (None, result(cell)):
            yield f"the index has another verdict of {cell}"
        if index.last(cell) not in (None, parts(cell)):
            yield f"the index has another last export of {cell}"


def wrong_runs(root: Path) -> Iterator[str]:
    yield from wrong_records(root)
    for path in sorted((root / "runs").glob("2*")):
        yield from _wrong_files(path)


def wrong_records(root: Path) -> Iterator[str]:
    for path in sorted((root / "runs").glob("2*")):
        yield from _wrong_records(path)


def lacks(root: Path) -> Iterator[str]:
    """What a run that has come to its end lacks or has wrong."""
    if outcome(root) != [result(cell) for cell in CELLS]:
        yield "the outcomes are not those of the undisturbed run"
    yield from (f"audit: {problem}" for problem in audit_run(runs(root)[-1], Tally()))
    index = Index(root / "store")
    for cell, key in KEYS.items():
        if None in (index.exported(key), index.verdict(key), index.last(cell)):
            yield f"the index lacks {cell}"
    missing = {hashlib.sha256(data).hexdigest() for data in CONTENTS} - {*blob_names(root)}
    yield from (f"blob {sha256[:8]} is not there" for sha256 in missing)


def _ref(name: str, data: bytes) -> FileRef:
    return FileRef(name=name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def _open(root: Path) -> tuple[RunFolder, list[Record]]:
    if not (begun := runs(root)):
        return RunFolder.create(plan(root), {"config.yaml": "opset: 20\n"}), []
    return RunFolder.reopen(begun[-1], read_plan(begun[-1]))


def _has_begun(path: Path) -> bool:
    try:
        return bool(ledger.read(path))
    except EnvironmentRefusedError:
        return True


def _has_ended(records: list[Record]) -> bool:
    return bool(records) and isinstance(records[-1], RunFinished)


def _work(root: Path, folder: RunFolder, records: list[Record], promise: Promise, stop_after: int) -> None:
    done = outcomes(records)
    if records:
        folder.resume([replace(each, origin=Origin.RESUMED) for each in done.values()], ())
    else:
        folder.start(["python", "-m", "orchestrator"], {"torch": "2.15.0"}, {"cores": 2})
    for cell in CELLS[:stop_after]:
        put_blobs(root, promise)
        if cell not in done:
            folder.finish_cell(result(cell))
        remember(root, cell, promise)
    if stop_after == len(CELLS):
        folder.close(RunStatus.FINISHED)


def _wrong_records(path: Path) -> Iterator[str]:
    if not (path / "ledger.jsonl").exists():
        return
    try:
        records = ledger.read(path / "ledger.jsonl")
    except EnvironmentRefusedError as error:
        if "is damaged: " not in str(error):
            yield f"the ledger is refused without a word on the loss: {error}"
        return
    if records and not isinstance(records[0], RunStarted):
        yield "the first record is not the start"
    for cell, kept in outcomes(records).items():
        if replace(kept, origin=Origin.RAN) != result(cell):
            yield f"the ledger has another outcome of {cell}"


def _wrong_files(path: Path) -> Iterator[str]:
    """What a user takes out of a run folder: never half of it under its name."""
    right = {"onnx": {*GRAPHS.values()}, "data": {WEIGHTS}, "pb": {FILES["test_data_set_0/input_0.pb"]}, "log": {b"said"}}
    for file in path.rglob("*"):
        if file.is_file() and file.read_bytes() not in right.get(file.suffix[1:], {file.read_bytes()}):
            yield f"{file.name} is delivered with other bytes"
