from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import EnvironmentRefusedError, StorageError
from orchestrator.store.disk import Disk, held, make_folder, point, refusals, replace, replace_durably, set_aside, write_all


class Stingy(Disk):
    """Writes at most three bytes a call."""

    def write(self, descriptor: int, data: memoryview) -> int:
        return os.write(descriptor, data[:3])


class Broken(Disk):
    """Refuses one kind of call."""

    def __init__(self, call: str, number: int) -> None:
        def refuse(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        setattr(self, call, refuse)


class Recording(Disk):
    """Notes what is made durable, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def sync(self, descriptor: int) -> None:
        self.calls.append("sync")
        super().sync(descriptor)

    def rename(self, source: Path, destination: Path) -> None:
        self.calls.append(f"rename {destination.name}")
        super().rename(source, destination)

    def sync_folder(self, folder: Path) -> None:
        self.calls.append(f"sync_folder {folder.name}")
        super().sync_folder(folder)


@pytest.mark.parametrize(
    ("number", "kind", "says"),
    [
        (errno.ENOSPC, "disk_full", "The disk is full"),
        (errno.EDQUOT, "disk_full", "The disk is full"),
        (errno.EROFS, "read_only", "cannot be written"),
        (errno.EACCES, "read_only", "Permission denied"),
        (errno.EIO, "io", "Input/output error"),
    ],
)
def test_each_refusal_has_its_own_kind_and_names_the_path(number: int, kind: str, says: str) -> None:
    with pytest.raises(StorageError, match=says) as caught, refusals(Path("/somewhere/file")):
        raise OSError(number, os.strerror(number))
    assert caught.value.kind == kind
    assert "/somewhere/file" in str(caught.value)
    assert isinstance(caught.value, EnvironmentRefusedError)


@pytest.mark.parametrize("write", [replace, replace_durably])
def test_a_short_write_is_continued(tmp_path: Path, write: Callable[[Path, bytes, Disk], None]) -> None:
    write(tmp_path / "file", b"0123456789", Stingy())
    assert (tmp_path / "file").read_bytes() == b"0123456789"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("call", ["create", "write", "sync", "rename", "sync_folder"])
def test_whatever_fails_the_file_is_the_old_or_the_new_one_and_nothing_is_left_beside_it(tmp_path: Path, call: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(StorageError):
        replace_durably(path, b"new", Broken(call, errno.EIO))
    assert path.read_bytes() == (b"new" if call == "sync_folder" else b"old")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_bytes_are_synced_before_the_name_and_the_name_after(tmp_path: Path) -> None:
    disk = Recording()
    replace_durably(tmp_path / "file", b"new", disk)
    assert disk.calls == ["sync", "rename file", f"sync_folder {tmp_path.name}"]


def test_a_derived_file_is_not_synced(tmp_path: Path) -> None:
    disk = Recording()
    replace(tmp_path / "file", b"new", disk)
    assert disk.calls == ["rename file"]


def test_each_new_folder_has_its_name_synced_in_its_parent(tmp_path: Path) -> None:
    disk = Recording()
    make_folder(tmp_path / "a" / "b", disk)
    make_folder(tmp_path / "a" / "b", disk)
    assert disk.calls == [f"sync_folder {tmp_path.name}", "sync_folder a"]


def test_write_all_of_nothing_writes_nothing(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    write_all(descriptor, b"")
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b""


def test_a_clone_is_refused_where_the_file_system_cannot(tmp_path: Path) -> None:
    source = os.open(tmp_path / "source", os.O_RDWR | os.O_CREAT)
    reader, writer = os.pipe()
    assert Disk().clone(source, writer) is False
    for descriptor in (source, reader, writer):
        os.close(descriptor)


def test_what_another_process_has_set_aside_just_before_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"damaged")
    assert set_aside(tmp_path / "damaged") == set_aside(tmp_path / "damaged")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.bad"]


def test_a_link_is_turned_in_one_step_or_not_at_all(tmp_path: Path) -> None:
    link = tmp_path / "latest"
    point(link, "a")
    point(link, "b")
    assert link.readlink() == Path("b")

    class Refusing(Disk):
        def rename(self, source: Path, destination: Path) -> None:  # noqa: ARG002
            raise OSError(errno.EROFS, "Read-only file system")

    with pytest.raises(StorageError):
        point(link, "c", Refusing())
    assert link.readlink() == Path("b")
    assert [*tmp_path.iterdir()] == [link]


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with held(tmp_path), pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)
    with pytest.raises(StorageError), held(tmp_path / "nowhere"):
        pass
