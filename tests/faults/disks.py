"""Disks that refuse, die or write short, in the place of the one that everything is written through.

Calls that do not go through `Disk` (making folders, removing files, links) are not made to fail.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

from orchestrator.store import blobs, ledger
from orchestrator.store.disk import DISK, Disk

CALLS = ("create", "write", "sync", "rename", "sync_folder", "clone")
KILLED = 137
KILL, SHORT, SHORT_THEN_FULL = "kill", "short write", "short write, then ENOSPC"
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EROFS": errno.EROFS}
KINDS = {"EIO": "io", "ENOSPC": "disk_full", "EROFS": "read_only", SHORT_THEN_FULL: "disk_full"}
"""The StorageError that a fault has to become."""
FAULTS = (KILL, *ERRORS, SHORT, SHORT_THEN_FULL)
_Result = TypeVar("_Result")


@contextmanager
def installed(disk: Disk) -> Iterator[None]:
    """Everything that is written by default goes through that disk."""
    with ExitStack() as stack:
        for name in CALLS:
            stack.enter_context(patch.object(DISK, name, getattr(disk, name)))
        yield


@contextmanager
def small_steps(chunk: int = 3, group: int = 1) -> Iterator[None]:
    """Files are written a few bytes at a time, and records are synced in groups of so many and never by a timer."""
    with (
        patch.object(blobs, "CHUNK_BYTES", chunk),
        patch.object(ledger, "GROUP_RECORDS", group),
        patch.object(ledger, "GROUP_SECONDS", 3600),
    ):
        yield


class Unsynced(Disk):
    """Does not wait for the device: what is tried with it never loses its power."""

    def sync(self, descriptor: int) -> None:
        """Do nothing."""

    def sync_folder(self, folder: Path) -> None:
        """Do nothing."""


class Faulty(Unsynced):
    """Notes every call, and makes one of them fail."""

    def __init__(self, at: int = -1, fault: str = "") -> None:
        self.calls: list[str] = []
        self._at, self._fault = at, fault

    def create(self, path: Path, mode: int = 0o666) -> int:
        return self._call("create", lambda: super(Faulty, self).create(path, mode))

    def write(self, descriptor: int, data: memoryview) -> int:
        half = max(1, len(data) // 2)
        if len(self.calls) == self._at and self._fault in (KILL, SHORT, SHORT_THEN_FULL):
            os.write(descriptor, data[:half])
            if self._fault != KILL:
                self.calls.append("write")
                return half
        return self._call("write", lambda: super(Faulty, self).write(descriptor, data))

    def sync(self, descriptor: int) -> None:
        self._call("sync", lambda: super(Faulty, self).sync(descriptor))

    def rename(self, source: Path, destination: Path) -> None:
        self._call("rename", lambda: super(Faulty, self).rename(source, destination))

    def sync_folder(self, folder: Path) -> None:
        self._call("sync_folder", lambda: super(Faulty, self).sync_folder(folder))

    def clone(self, source: int, destination: int) -> bool:
        # It tells a refusal by its answer.
        try:
            return self._call("clone", lambda: super(Faulty, self).clone(source, destination))
        except OSError:
            return False

    def _call(self, name: str, call: Callable[[], _Result]) -> _Result:
        number = len(self.calls)
        self.calls.append(name)
        if number == self._at and self._fault == KILL:
            os._exit(KILLED)
        if self._refuses(number):
            code = ERRORS.get(self._fault, errno.ENOSPC)
            raise OSError(code, os.strerror(code))
        return call()

    def _refuses(self, number: int) -> bool:
        """A bad block refuses once; a disk that is full or read-only stays so."""
        if self._fault == "EIO":
            return number == self._at
        if self._fault == SHORT_THEN_FULL:
            return 0 <= self._at < number
        return self._fault in ERRORS and number >= self._at
