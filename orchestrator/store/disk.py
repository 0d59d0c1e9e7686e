"""The system calls of everything that is written, in one place where a test can make them fail.

What is synced survives a power cut if the file system keeps its word; derived files are renamed into place unsynced.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import StorageError

FICLONE = 0x40049409
"""ioctl that makes a file share another one's blocks until either is written to; linux/fs.h."""


BAD = ".bad"
"""Ends the name of what was set aside."""
TEMPORARY = ".*.part"
"""Matches the names of files that a writer is at, or was when it was killed."""


class Disk:
    """The calls as the operating system makes them; a test overrides the one that is to fail."""

    def create(self, path: Path, mode: int = 0o666) -> int:
        """Open a file for writing that must not exist yet."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write some of the data; returns how many bytes."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Return when the file's bytes are on the device."""
        os.fsync(descriptor)

    def rename(self, source: Path, destination: Path) -> None:
        """Replace the destination in one step."""
        source.replace(destination)

    def sync_folder(self, folder: Path) -> None:
        """Return when the folder's names are on the device."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def clone(self, source: int, destination: int) -> bool:
        """Let the destination share the source's blocks; False where the file system cannot."""
        try:
            fcntl.ioctl(destination, FICLONE, source)
        except OSError:
            return False
        return True


DISK = Disk()


def free(folder: Path) -> int:
    """Bytes that can be written where a folder is, or would be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses about a path into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                "disk_full", f"The disk is full: {path} cannot be written. Free some space and run again."
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise StorageError(
                "read_only", f"{path} cannot be written: {error.strerror}. Choose a folder of your own."
            ) from error
        raise StorageError("io", f"{path} cannot be read or written: {error}.") from error


@contextlib.contextmanager
def new_file(path: Path, disk: Disk = DISK, mode: int = 0o666) -> Iterator[tuple[Path, int]]:
    """A temporary file in the folder of `path` and its descriptor; it is gone at the end unless it was renamed."""
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
    descriptor = disk.create(temporary, mode)
    try:
        yield temporary, descriptor
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def left_behind(folder: Path) -> Iterator[Path]:
    """Temporary files below a folder in which nobody is writing: of a writer that was killed."""
    return folder.rglob(TEMPORARY)


def set_aside(path: Path, disk: Disk = DISK) -> Path:
    """Rename what is damaged, so that it is served no more and can still be looked at.

    Returns:
        Where it is now.

    Raises:
        StorageError: the disk refused.
    """
    bad = path.with_name(f"{path.name}{BAD}")
    # Not there any more: another process has seen the same.
    with refusals(path), contextlib.suppress(FileNotFoundError):
        disk.rename(path, bad)
    return bad


def write_all(descriptor: int, data: bytes | memoryview, disk: Disk = DISK) -> None:
    """Write everything, in as many calls as the system wants."""
    rest = memoryview(data)
    while rest:
        rest = rest[disk.write(descriptor, rest) :]


def replace(path: Path, data: bytes, disk: Disk = DISK) -> None:
    """Give a derived file new content in one step; not synced, since it can be made again.

    Raises:
        StorageError: the disk refused; the old content stands.
    """
    with refusals(path), new_file(path, disk) as (temporary, descriptor):
        write_all(descriptor, data, disk)
        disk.rename(temporary, path)


def replace_durably(path: Path, data: bytes, disk: Disk = DISK) -> None:
    """Give a file new content in one step that survives a power cut.

    Raises:
        StorageError: the disk refused; the old content stands. A failed sync is never tried again: the second one would
            succeed although the bytes are lost (PostgreSQL's fsyncgate, 2018).
    """
    with refusals(path), new_file(path, disk) as (temporary, descriptor):
        write_all(descriptor, data, disk)
        disk.sync(descriptor)
        disk.rename(temporary, path)
        disk.sync_folder(path.parent)


def make_folder(folder: Path, disk: Disk = DISK) -> None:
    """Make a folder and its parents, each name synced; one that exists is left alone."""
    if folder.is_dir():
        return
    make_folder(folder.parent, disk)
    folder.mkdir(exist_ok=True)
    disk.sync_folder(folder.parent)


def point(link: Path, target: str, disk: Disk = DISK) -> None:
    """Let a link point elsewhere, in one step; the name is synced.

    Raises:
        StorageError: the disk refused; the link points where it did.
    """
    temporary = link.with_name(f".{link.name[:100]}.{secrets.token_hex(6)}.part")
    with refusals(link):
        temporary.symlink_to(target)
        try:
            disk.rename(temporary, link)
        except OSError:
            temporary.unlink()
            raise
        disk.sync_folder(link.parent)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Have a folder for oneself; others who want that wait.

    Raises:
        StorageError: there is no such folder, or it may not be read.
    """
    with refusals(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
