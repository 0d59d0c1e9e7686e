"""A fault at every call to the disk, one after the other, of everything that writes: what is readable then is whole and right.

The calls are those of `Disk`, counted by a first run without fault. A kill ends a forked process at once, without cleaning up.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import EnvironmentRefusedError, StorageError
from orchestrator.result import CellResult, Status
from orchestrator.store import ledger
from orchestrator.store.blobs import BlobStore
from orchestrator.store.index import Index, prepare
from orchestrator.store.ledger import Ledger, Record
from tests import synthetic
from tests.faults import night
from tests.faults.disks import FAULTS, KILL, KILLED, KINDS, SHORT, SHORT_THEN_FULL, Faulty, Unsynced, installed, small_steps
from tests.faults.row import Row, show

DATA = night.WEIGHTS
DIGEST = hashlib.sha256(DATA).hexdigest()
CELL = night.CELLS[0]
KEY = night.KEYS[CELL]
RECORDS: list[Record] = synthetic.ledger(*(synthetic.result(cell) for cell in night.CELLS))
Wrongs = Callable[[Path], Iterator[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """Something that writes."""

    name: str
    act: Callable[[Path], object]
    """In a folder; done again, it goes on from whatever is there."""
    wrongs: Wrongs
    """What is readable although it is not whole and right."""
    lacks: Wrongs
    """What it should have done and did not."""
    prepare: Callable[[Path], object] = lambda _: None


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A fault at one call of an operation."""

    operation: Operation
    at: int
    call: str
    fault: str

    def __str__(self) -> str:
        return f"{self.operation.name}: {self.fault} at call {self.at} ({self.call})"


def campaign() -> Row:
    """Every fault at every call."""
    todo = cases()
    violations = [violation for case in todo for violation in tried(case)]
    count = Counter(case.fault for case in todo)
    told = ", ".join(f"{count[fault]} {fault}" for fault in FAULTS)
    measured = f"{len(todo)} faults in {len(OPERATIONS)} operations ({told}): {len(violations)} violations"
    reach = "every store call, each {kill, EIO, ENOSPC, EROFS, short write}: 0 violations"
    return Row("faults injected at every store call", reach, measured, tuple(violations))


def cases(operations: Sequence[Operation] = ()) -> list[Case]:
    """Every fault at every call of the operations, of all by default."""
    return [
        Case(operation=operation, at=at, call=call, fault=fault)
        for operation in operations or OPERATIONS
        for at, call in enumerate(_calls(operation))
        for fault in FAULTS
        if call == "write" or fault not in (SHORT, SHORT_THEN_FULL)
    ]


def tried(case: Case) -> list[str]:
    """The promises that were broken when this fault happened."""
    with tempfile.TemporaryDirectory() as folder, small_steps():
        root = Path(folder)
        open_before = _open_files()
        with installed(Unsynced()):
            case.operation.prepare(root)
        broken = [*_act_badly(case, root)]
        with installed(Unsynced()):
            if case.fault != KILL:
                broken += [f"{path.name} is left behind" for path in root.rglob("*") if path.name.endswith(".part")]
                broken += ["a file was left open"] if _open_files() != open_before else []
            broken += case.operation.wrongs(root)
            broken += _act_again(case.operation, root)
        return [f"{case}: {problem}" for problem in broken]


def _calls(operation: Operation) -> list[str]:
    disk = Faulty()
    with tempfile.TemporaryDirectory() as folder, small_steps():
        with installed(Unsynced()):
            operation.prepare(Path(folder))
        with installed(disk):
            operation.act(Path(folder))
    return disk.calls


def _act_badly(case: Case, root: Path) -> Iterator[str]:
    if case.fault == KILL:
        if _killed(case, root) != KILLED:
            yield "the process did not die where it should"
        return
    harmless = case.fault == SHORT or (case.call == "clone" and case.fault == "EIO")
    try:
        with installed(Faulty(case.at, case.fault)):
            case.operation.act(root)
    except EnvironmentRefusedError as error:
        cause = error if isinstance(error, StorageError) else error.__cause__
        kind = cause.kind if isinstance(cause, StorageError) else None
        if harmless or kind != KINDS[case.fault]:
            yield f"ended with {type(error).__name__} {kind}: {error}"
    except Exception as error:
        yield f"ended with {error!r}"
    else:
        yield from () if harmless else ("nothing was said of it",)


def _killed(case: Case, root: Path) -> int:
    """The exit code of a process in which it happens."""
    process = os.fork()
    if not process:
        with suppress(BaseException), installed(Faulty(case.at, case.fault)):
            case.operation.act(root)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _act_again(operation: Operation, root: Path) -> Iterator[str]:
    try:
        operation.act(root)
        yield from operation.wrongs(root)
        yield from operation.lacks(root)
    except Exception as error:
        yield f"could not be done again: {error!r}"


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


# What writes


def _put_file(root: Path) -> None:
    (root / "file").write_bytes(DATA)
    BlobStore(root / "store").put_file(root / "file")


def _damage_blob(root: Path) -> None:
    BlobStore(root / "store").put_bytes(DATA)
    blob = root / "store" / "blobs" / DIGEST[:2] / DIGEST[2:]
    blob.chmod(0o644)
    blob.write_bytes(DATA[:-1])


def _blob_lacks(root: Path) -> Iterator[str]:
    BlobStore(root / "store").get(DIGEST, root / "copy")
    if (root / "copy").read_bytes() != DATA:
        yield "the blob is not there"


def _get(root: Path) -> None:
    BlobStore(root / "store").get(DIGEST, root / "taken")


def _taken_wrongs(root: Path) -> Iterator[str]:
    if (root / "taken").exists() and (root / "taken").read_bytes() != DATA:
        yield "a part of a blob was handed out"


def _taken_lacks(root: Path) -> Iterator[str]:
    if not (root / "taken").exists():
        yield "nothing was handed out"


def _put_entries(root: Path) -> None:
    night.remember(root, CELL)


def _damage_entries(root: Path) -> None:
    _put_entries(root)
    for path in (root / "store" / "index").rglob("*.json"):
        path.write_bytes(path.read_bytes()[:-1])


def _read_and_put_entries(root: Path) -> None:
    index = Index(root / "store")
    index.exported(KEY)
    index.verdict(KEY)
    index.last(CELL)
    _put_entries(root)


def _older_entries(root: Path) -> None:
    index = Index(root / "store")
    index.put_verdict(KEY, _older())
    index.put_exported(KEY, _older())


def _older() -> CellResult:
    return synthetic.result(CELL, Status.CRASHED)


def _entry_wrongs(root: Path) -> Iterator[str]:
    index = Index(root / "store")
    for entry in (index.exported(KEY), index.verdict(KEY)):
        if entry not in (None, _older(), night.result(CELL)):
            yield "the index has an entry that nobody wrote"
    if index.last(CELL) not in (None, night.parts(CELL)):
        yield "the index has another last export"


def _entry_lacks(root: Path) -> Iterator[str]:
    index = Index(root / "store")
    if (index.exported(KEY), index.verdict(KEY)) != (night.result(CELL),) * 2 or not index.last(CELL):
        yield "the index has not got what was put"


def _write_ledger(root: Path) -> None:
    """Start a ledger, or go on with it."""
    path = root / "ledger.jsonl"
    writing, records = Ledger.reopen(path) if path.exists() else (Ledger.create(path), [])
    try:
        for record in RECORDS[len(records) :]:
            writing.append(record)
    except StorageError:
        with suppress(StorageError):
            writing.close()
        raise
    writing.close()


def _torn_ledger(root: Path) -> None:
    _write_ledger(root)
    path = root / "ledger.jsonl"
    path.write_bytes(path.read_bytes()[:-300])


def _ledger_wrongs(root: Path) -> Iterator[str]:
    path = root / "ledger.jsonl"
    records = ledger.read(path) if path.exists() else []
    if records != RECORDS[: len(records)]:
        yield "the ledger has records that nobody wrote"


def _ledger_lacks(root: Path) -> Iterator[str]:
    if ledger.read(root / "ledger.jsonl") != RECORDS:
        yield "the ledger is not whole"


def _store_lacks(root: Path) -> Iterator[str]:
    if not (root / "store" / "store.json").exists():
        yield "it is not there"


def _store_wrongs(root: Path) -> Iterator[str]:
    mark = root / "store" / "store.json"
    if mark.exists() and mark.read_bytes() != b'{"schema_version":1}':
        yield "it has other bytes"


def _run_half(root: Path) -> None:
    night.run(root, stop_after=1)


def _put_one(root: Path) -> None:
    BlobStore(root / "store").put_bytes(DATA)


OPERATIONS = (
    Operation(name="store.json", act=lambda root: prepare(root / "store"), wrongs=_store_wrongs, lacks=_store_lacks),
    Operation(name="blob of bytes", act=_put_one, wrongs=night.wrong_blobs, lacks=_blob_lacks),
    Operation(name="blob of a file", act=_put_file, wrongs=night.wrong_blobs, lacks=_blob_lacks),
    Operation(name="blob over a damaged one", prepare=_damage_blob, act=_put_one, wrongs=night.wrong_blobs, lacks=_blob_lacks),
    Operation(name="blob handed out", prepare=_put_one, act=_get, wrongs=_taken_wrongs, lacks=_taken_lacks),
    Operation(name="index entries", act=_put_entries, wrongs=_entry_wrongs, lacks=_entry_lacks),
    Operation(
        name="index entries over older ones",
        prepare=_older_entries,
        act=_put_entries,
        wrongs=_entry_wrongs,
        lacks=_entry_lacks,
    ),
    Operation(
        name="index entries over damaged ones",
        prepare=_damage_entries,
        act=_read_and_put_entries,
        wrongs=_entry_wrongs,
        lacks=_entry_lacks,
    ),
    Operation(name="ledger", act=_write_ledger, wrongs=_ledger_wrongs, lacks=_ledger_lacks),
    Operation(name="torn ledger", prepare=_torn_ledger, act=_write_ledger, wrongs=_ledger_wrongs, lacks=_ledger_lacks),
    Operation(name="run", act=night.run, wrongs=night.wrongs, lacks=night.lacks),
    Operation(name="resumed run", prepare=_run_half, act=night.run, wrongs=night.wrongs, lacks=night.lacks),
)


if __name__ == "__main__":
    sys.exit(show(campaign()))
