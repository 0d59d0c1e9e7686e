"""Content-addressed files, shared by all runs: a name is the SHA-256 of the bytes, and what is handed out is hashed again.

Writers need no lock: whoever comes second finds an equal blob. What refers to them is in `index`, what can go is found in `gc`.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from orchestrator.digest import digest_of
from orchestrator.errors import StorageError
from orchestrator.store.disk import DISK, Disk, make_folder, new_file, refusals, set_aside, write_all

CHUNK_BYTES = 4 << 20
"""Read, hashed and written at a time."""
Source = io.FileIO | io.BytesIO
SHA256_HEX = re.compile(r"[0-9a-f]{64}")


class BlobStore:
    """The blobs below `<root>/blobs/ab/cdef…`; the folder is made when the first one is put."""

    def __init__(self, root: Path, disk: Disk = DISK) -> None:
        self.root = root
        self._disk = disk

    def put_file(self, path: Path) -> tuple[str, int]:
        """Store a copy of a file.

        Returns:
            The digest in hex and the size in bytes of what was stored.

        Raises:
            StorageError: the disk refused; nothing is left behind.
        """
        with path.open("rb", buffering=0) as source:
            return self._put(source)

    def put_bytes(self, data: bytes) -> tuple[str, int]:
        """Store bytes; see `put_file`."""
        return self._put(io.BytesIO(data))

    def get(self, sha256: str, destination: Path) -> None:
        """Copy a blob to a path, whole or not at all; on file systems that can, the copy shares the blob's blocks.

        Raises:
            StorageError: `missing`; or `corrupt`: the blob has other bytes than its name says and was set aside as `*.bad`;
                or the disk refused.
        """
        blob = self._path(sha256)
        try:
            source = blob.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise StorageError("missing", f"The store {self.root} has no blob {sha256}. Run again to make it anew.") from error
        with source, refusals(destination), new_file(destination, self._disk) as (temporary, descriptor):
            if self._copy(source, temporary, descriptor) == sha256:
                self._disk.rename(temporary, destination)
                return
        bad = set_aside(blob, self._disk)
        raise StorageError("corrupt", f"A blob of the store is damaged; it was set aside as {bad}. Run again to make it anew.")

    def has(self, sha256: str) -> bool:
        """Whether there is a blob of that name; its bytes are not looked at."""
        return self._path(sha256).is_file()

    def use(self, sha256: str) -> bool:
        """Whether there is a blob of that name; if so it counts as used now, and no garbage collection takes it for a day."""
        with suppress(OSError):
            os.utime(self._path(sha256))
        return self.has(sha256)

    def _put(self, source: Source) -> tuple[str, int]:
        incoming = self.root / "tmp" / "blob"
        with refusals(self.root):
            make_folder(incoming.parent, self._disk)
            # Read-only, so that a stray edit in the store fails instead of poisoning later runs.
            with new_file(incoming, self._disk, mode=0o444) as (temporary, descriptor):
                digest, size = self._hash_and_write(source, descriptor)
                blob = self._path(digest)
                if not self._holds(digest, temporary):
                    self._disk.sync(descriptor)
                    make_folder(blob.parent, self._disk)
                    self._disk.rename(temporary, blob)
                    self._disk.sync_folder(blob.parent)
        return digest, size

    def _hash_and_write(self, source: Source, descriptor: int) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        for chunk in _chunks(source):
            digest.update(chunk)
            write_all(descriptor, chunk, self._disk)
            size += len(chunk)
        return digest.hexdigest(), size

    def _copy(self, source: io.FileIO, temporary: Path, descriptor: int) -> str:
        """Copy a blob and return the digest of the copy's bytes."""
        if not self._disk.clone(source.fileno(), descriptor):
            return self._hash_and_write(source, descriptor)[0]
        return digest_of(temporary)

    def _holds(self, digest: str, temporary: Path) -> bool:
        """Whether the blob is there with the bytes of the temporary file; one with other bytes is set aside."""
        blob = self._path(digest)
        try:
            with blob.open("rb") as old, temporary.open("rb") as new:
                if _size(old) == _size(new) and all(map(bytes.__eq__, _blocks(old), _blocks(new))):
                    return self.use(digest)
        except FileNotFoundError:
            return False
        set_aside(blob, self._disk)
        return False

    def _path(self, sha256: str) -> Path:
        if not SHA256_HEX.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no SHA-256 in hex")
        return self.root / "blobs" / sha256[:2] / sha256[2:]


def _chunks(source: Source) -> Iterator[memoryview]:
    """The content through one buffer; each chunk is valid until the next is asked for."""
    buffer = memoryview(bytearray(CHUNK_BYTES))
    while count := source.readinto(buffer):
        yield buffer[:count]


def _size(file: io.BufferedReader) -> int:
    return os.fstat(file.fileno()).st_size


def _blocks(source: io.BufferedReader) -> Iterator[bytes]:
    while block := source.read(CHUNK_BYTES):
        yield block
