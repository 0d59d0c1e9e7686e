"""From keys to what came of them: artifacts that need not be exported again, verdicts that still hold.

Written after the blobs that it refers to. An entry holds a digest of itself and its name; one that is damaged or another's
is set aside as `*.bad` and counts as absent.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from orchestrator import layout
from orchestrator.errors import EnvironmentRefusedError, StorageError
from orchestrator.result import CellResult, FileRef
from orchestrator.store.disk import DISK, Disk, make_folder, refusals, replace_durably, set_aside

SCHEMA_VERSION = 1
"""Of a store as a whole; one of a newer version is refused."""
MARK = "store.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """An artifact, under the digest of the key that it was exported with."""

    result: CellResult
    """Of the cell that exported it; its verdict is another entry's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Last:
    """The newest export of a cell, by its identifier: what the next one is compared with."""

    parts: Mapping[str, Any]
    """Of its export key."""


class _Mark(msgspec.Struct, frozen=True):
    """What store.json says of a store."""

    schema_version: Annotated[int, msgspec.Meta(ge=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What eager answered on a model's probes, under the digest of the key that says which."""

    file: FileRef


_Entry = TypeVar("_Entry", Exported, CellResult, Last, Answered)


class Index:
    """The index of one store."""

    def __init__(self, root: Path, disk: Disk = DISK) -> None:
        self._root = root
        self._disk = disk

    def exported(self, export_key: str) -> CellResult | None:
        """The outcome that an export with this key had, with its artifact; the verdict in it may not hold any more."""
        entry = self._read(self._path("export", export_key), Exported)
        return entry.result if entry else None

    def verdict(self, verify_key: str) -> CellResult | None:
        """The outcome under this key."""
        return self._read(self._path("verify", verify_key), CellResult)

    def last(self, cell: str) -> Mapping[str, Any] | None:
        """The parts of the key of a cell's newest export."""
        entry = self._read(self._cell_path(cell), Last)
        return entry.parts if entry else None

    def answers(self, answers_key: str) -> FileRef | None:
        """The blob with eager's answers under this key."""
        entry = self._read(self._path("answers", answers_key), Answered)
        return entry.file if entry else None

    def put_answers(self, answers_key: str, file: FileRef) -> None:
        """Remember eager's answers; see `put_exported`."""
        self._write(self._path("answers", answers_key), Answered(file=file))

    def put_exported(self, export_key: str, result: CellResult) -> None:
        """Remember an artifact whose blobs are in the store.

        Raises:
            StorageError: the disk refused.
        """
        self._write(self._path("export", export_key), Exported(result=result))

    def put_verdict(self, verify_key: str, result: CellResult) -> None:
        """Remember a verdict; see `put_exported`."""
        self._write(self._path("verify", verify_key), result)

    def put_last(self, cell: str, parts: Mapping[str, Any]) -> None:
        """Remember the parts of the key that a cell was exported with; see `put_exported`."""
        self._write(self._cell_path(cell), Last(parts=parts))

    def _path(self, kind: str, digest: str) -> Path:
        return self._root / "index" / kind / digest[:2] / f"{digest[2:]}.json"

    def _cell_path(self, cell: str) -> Path:
        return self._root / "index" / "cells" / f"{layout.safe_name(cell)}.json"

    def _proof(self, path: Path, payload: bytes) -> bytes:
        return proof(path.relative_to(self._root / "index").as_posix(), payload).encode()

    def _read(self, path: Path, kind: type[_Entry]) -> _Entry | None:
        with suppress(OSError):
            # Used now: a garbage collection takes what nobody asks for. Before it is read, or it might be gone in between.
            os.utime(path)
        try:
            with refusals(path):
                digest, _, payload = path.read_bytes().partition(b"\n")
        except StorageError:
            return None
        if self._proof(path, payload) == digest:
            try:
                return msgspec.json.decode(payload, type=kind)
            except msgspec.MsgspecError:
                # Of another version of us.
                return None
        set_aside(path, self._disk)
        return None

    def _write(self, path: Path, entry: _Entry) -> None:
        payload = msgspec.json.encode(entry)
        with refusals(path):
            make_folder(path.parent, self._disk)
        replace_durably(path, self._proof(path, payload) + b"\n" + payload, self._disk)


def proof(name: str, payload: bytes) -> str:
    """The digest that an entry of that name, relative to the index, begins with."""
    return hashlib.sha256(f"{name}\n".encode() + payload).hexdigest()


def prepare(root: Path, disk: Disk = DISK) -> None:
    """Make a store, or see that the one that is there can be used.

    Raises:
        EnvironmentRefusedError: it cannot be written, or a newer version of us made it.
    """
    mark = root / MARK
    try:
        with refusals(root):
            make_folder(root, disk)
        if not mark.exists():
            replace_durably(mark, msgspec.json.encode(_Mark(SCHEMA_VERSION)), disk)
        (root / "tmp").mkdir(exist_ok=True)
        probe = root / "tmp" / f"probe-{secrets.token_hex(6)}"
        try:
            replace_durably(probe, b"", disk)
        finally:
            probe.unlink(missing_ok=True)
    except StorageError as error:
        raise EnvironmentRefusedError(f"The store cannot be used: {error} Or choose another one with store.path.") from error
    except OSError as error:
        raise EnvironmentRefusedError(f"{root}: is no store: {error}.") from error
    check_version(root)


def check_version(root: Path) -> None:
    """See that a store is one of ours.

    Raises:
        EnvironmentRefusedError: its mark cannot be read, or a newer version of us made it.
    """
    try:
        found = msgspec.json.decode((root / MARK).read_bytes(), type=_Mark).schema_version
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EnvironmentRefusedError(f"{root}: is no store, or its {MARK} is damaged: {error}.") from error
    if found > SCHEMA_VERSION:
        raise EnvironmentRefusedError(
            f"The store {root} has schema {found}, we know {SCHEMA_VERSION}: use the newer one or another store.path."
        )
