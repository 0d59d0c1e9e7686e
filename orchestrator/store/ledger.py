"""The append-only record of a run: one JSON line per record, each with its checksum and number.

With plan.json it is the truth of a run. A line is handed to the operating system at once, so that a killed driver loses
nothing, and synced in groups, so that a power cut loses at most the last moments. A writer holds a lock, as long as it lives.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from orchestrator.errors import EnvironmentRefusedError, StorageError
from orchestrator.result import CellFinished, Regression, Speed
from orchestrator.store.disk import DISK, Disk, refusals, write_all

GROUP_SECONDS = 0.05
"""A record waits no longer than this for its sync …"""
GROUP_RECORDS = 64
"""… and with no more others than this."""


class RunStatus(enum.StrEnum):
    """How far a run came."""

    RUNNING = "running"
    """No end is on record: it is at work, or was killed."""
    FINISHED = "finished"
    """Every cell has its outcome."""
    INTERRUPTED = "interrupted"
    """Ctrl-C or SIGTERM."""
    REFUSED = "refused"
    """The environment ended it: the disk, the cluster, the store."""


class RunStarted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first record."""

    run_id: str
    time: str
    """ISO 8601, UTC."""
    command: tuple[str, ...]
    """The command line as typed, word by word."""
    versions: Mapping[str, str]
    """Of this project and of every tool that can change a result."""
    host: Mapping[str, str | int | float | None]
    """The machine of the driver: operating system, processor, cores, memory in bytes, …"""
    plan: str | None = None
    """SHA-256 of plan.json, which has no checksum of its own."""


class RunFinished(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The last record."""

    time: str
    """ISO 8601, UTC."""
    status: RunStatus
    exit_code: int


class RunResumed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A run that was ended early goes on."""

    time: str
    """ISO 8601, UTC."""
    changes: tuple[str, ...]
    """What is not as it was when the run began, a line each."""


class BaselineCompared(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The outcomes were compared with the accepted ones; on record, because what is accepted changes."""

    compared: int
    """Cells that have an accepted outcome."""
    regressions: tuple[Regression, ...]


class CellMeasured(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A cell's time and memory, taken after its outcome; the last record of a cell counts."""

    cell: str
    """Identifier."""
    speed: Speed | None
    reason: str
    """Why there is none; empty if there is."""


Record = RunStarted | CellFinished | RunFinished | RunResumed | BaselineCompared | CellMeasured


class _Entry(msgspec.Struct, frozen=True):
    """A line after its checksum."""

    number: int
    record: Record


_DECODER = msgspec.json.Decoder(_Entry)


class Ledger:
    """A ledger that is being written."""

    def __init__(self, path: Path, descriptor: int, disk: Disk) -> None:
        self.path = path
        self._descriptor = descriptor
        self._disk = disk
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._number = 0
        self._unsynced = 0
        self._broken: StorageError | None = None

    @classmethod
    def create(cls, path: Path, disk: Disk = DISK) -> Ledger:
        """Start a ledger in a folder that has none.

        Raises:
            StorageError: the disk refused.
        """
        with refusals(path):
            descriptor = disk.create(path)
            try:
                disk.sync_folder(path.parent)
            except OSError:
                os.close(descriptor)
                path.unlink()
                raise
        _lock(descriptor, path)
        return cls(path, descriptor, disk)

    @classmethod
    def reopen(cls, path: Path, disk: Disk = DISK) -> tuple[Ledger, list[Record]]:
        """Go on with a ledger whose writer is gone; a torn tail is cut off.

        Returns:
            The ledger, and the records that it has.

        Raises:
            EnvironmentRefusedError: another process is writing, or as `read`.
            StorageError: the disk refused.
        """
        with refusals(path):
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            _lock(descriptor, path)
            records = read(path)
            with refusals(path):
                os.ftruncate(descriptor, sum(len(line) + 1 for line in _lines(path)))
                disk.sync(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        ledger = cls(path, descriptor, disk)
        ledger._number = len(records)
        return ledger, records

    def append(self, record: Record) -> None:
        """Write a record.

        Raises:
            StorageError: the disk refused, now or at the sync of an earlier record; the ledger takes no more records.
        """
        with self._lock, self._breaking():
            write_all(self._descriptor, _line(self._number, record), self._disk)
            self._number += 1
            self._unsynced += 1
            if self._unsynced >= GROUP_RECORDS:
                self._sync()
            elif self._timer is None:
                self._timer = threading.Timer(GROUP_SECONDS, self._sync_late)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Sync what is not yet synced and close the file.

        Raises:
            StorageError: the disk refused, now or earlier.
        """
        with self._lock:
            try:
                with self._breaking():
                    self._sync()
            finally:
                os.close(self._descriptor)

    def _sync(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._unsynced:
            self._disk.sync(self._descriptor)
            self._unsynced = 0

    def _sync_late(self) -> None:
        # What goes wrong here is raised by the next append or by close.
        with self._lock, contextlib.suppress(StorageError), self._breaking():
            self._sync()

    @contextlib.contextmanager
    def _breaking(self) -> Iterator[None]:
        """Remember a refusal: after half a line or a failed sync nothing that follows could be trusted."""
        if self._broken:
            raise self._broken
        try:
            with refusals(self.path):
                yield
        except StorageError as error:
            self._broken = error
            raise


def read(path: Path) -> list[Record]:
    """Read a ledger, also one that is being written or whose writer was killed: a torn tail is dropped.

    Raises:
        EnvironmentRefusedError: a line before the tail is damaged, missing or out of place, or of another version of us.
        StorageError: the file cannot be read.
    """
    with refusals(path):
        lines = _lines(path)
    try:
        entries = [entry for entry in map(_entry, lines) if entry]
    except msgspec.MsgspecError as error:
        raise EnvironmentRefusedError(
            f"The ledger {path} was written by another version of the orchestrator: {error}."
        ) from error
    if [entry.number for entry in entries] != list(range(len(lines))):
        raise EnvironmentRefusedError(_damage(path, len(lines), entries))
    return [entry.record for entry in entries]


def beginning(path: Path) -> RunStarted | None:
    """The first record; None if it is not there or damaged, of which `read` tells more."""
    try:
        with path.open("rb") as file:
            entry = _entry(file.readline().removesuffix(b"\n"))
    except (OSError, msgspec.MsgspecError):
        return None
    return entry.record if entry and isinstance(entry.record, RunStarted) else None


@contextlib.contextmanager
def writers_kept_away(path: Path) -> Iterator[None]:
    """Hold the lock of a ledger that is only read.

    Raises:
        EnvironmentRefusedError: another process is writing it.
        StorageError: the file cannot be read.
    """
    with refusals(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lines(path: Path) -> list[bytes]:
    """The whole lines."""
    lines = path.read_bytes().split(b"\n")[:-1]
    # A crash leaves zeros where a block did not reach the device; a line as we write it holds none.
    while lines and b"\0" in lines[-1]:
        lines.pop()
    return lines


def _lock(descriptor: int, path: Path) -> None:
    """Held until the descriptor is closed, by whatever end its process has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise EnvironmentRefusedError(f"{path}: another process is writing it; the run is still going on.") from error
    except OSError:
        # A file system without locks; there the user looks after it.
        return


def _line(number: int, record: Record) -> bytes:
    entry = msgspec.json.encode(_Entry(number, record))[1:]
    return b'{"crc32":"%08x",%b\n' % (zlib.crc32(entry), entry)


def _entry(line: bytes) -> _Entry | None:
    """What a line holds, None if its checksum denies it."""
    entry = line[len('{"crc32":"01234567",') :]
    if line != b'{"crc32":"%08x",%b' % (zlib.crc32(entry), entry):
        return None
    return _DECODER.decode(b"{" + entry)


def _damage(path: Path, lines: int, entries: Sequence[_Entry]) -> str:
    stand = {entry.number for entry in entries}
    lost = [str(number + 1) for number in range(max(lines, *(number + 1 for number in stand), 0)) if number not in stand]
    what = f"{len(lost)} records are lost (number {', '.join(lost[:10])})" if lost else "its records are out of order"
    cells = sum(isinstance(entry.record, CellFinished) for entry in entries)
    return (
        f"The ledger {path} is damaged: {what}. {len(stand)} records stand, among them the outcomes of {cells} cells. "
        "Restore the file from a copy or start a new run."
    )
