from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
from multiprocessing import get_context
from pathlib import Path

import pytest

from orchestrator.errors import StorageError
from orchestrator.store.blobs import CHUNK_BYTES, BlobStore
from orchestrator.store.disk import Disk

BIG = b"weights!" * (CHUNK_BYTES // 8) + b"tail"
"""More than one chunk, and no multiple of it."""


class Failing(Disk):
    """Fails at the n-th call of all, with the given error."""

    def __init__(self, at: int, number: int) -> None:
        self.left, self.number = at, number

    def _tick(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(self.number, os.strerror(self.number))

    def create(self, path: Path, mode: int = 0o666) -> int:
        self._tick()
        return super().create(path, mode)

    def write(self, descriptor: int, data: memoryview) -> int:
        self._tick()
        return super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._tick()
        super().sync(descriptor)

    def rename(self, source: Path, destination: Path) -> None:
        self._tick()
        super().rename(source, destination)

    def sync_folder(self, folder: Path) -> None:
        self._tick()
        super().sync_folder(folder)


class Cloning(Disk):
    """A file system that can clone, as far as one can see from outside."""

    def __init__(self) -> None:
        self.clones = 0

    def clone(self, source: int, destination: int) -> bool:
        self.clones += 1
        os.sendfile(destination, source, 0, os.fstat(source).st_size)
        return True


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def blob_path(store: BlobStore, sha256: str) -> Path:
    return store.root / "blobs" / sha256[:2] / sha256[2:]


def damage(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


@pytest.mark.parametrize("data", [b"", b"graph", BIG])
def test_what_is_put_is_found_under_its_digest_and_comes_back(store: BlobStore, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    sha256, size = store.put_file(tmp_path / "file")
    assert (sha256, size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert store.has(sha256)
    store.get(sha256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    assert files(store.root) == [f"blobs/{sha256[:2]}/{sha256[2:]}"]


def test_a_copy_is_no_link_and_can_be_written_to_while_the_blob_cannot(store: BlobStore, tmp_path: Path) -> None:
    sha256, _ = store.put_bytes(b"graph")
    store.get(sha256, tmp_path / "copy")
    assert not (tmp_path / "copy").is_symlink()
    assert (tmp_path / "copy").stat().st_nlink == blob_path(store, sha256).stat().st_nlink == 1
    assert (tmp_path / "copy").stat().st_mode & 0o200
    assert not blob_path(store, sha256).stat().st_mode & 0o222


def test_a_clone_is_used_where_there_is_one_and_hashed_all_the_same(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "store", Cloning())
    sha256, _ = store.put_bytes(b"graph")
    store.get(sha256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"graph"
    damage(blob_path(store, sha256), b"grape")
    with pytest.raises(StorageError):
        store.get(sha256, tmp_path / "second")


def test_the_second_put_of_the_same_bytes_writes_no_new_blob(store: BlobStore) -> None:
    first = store.put_bytes(BIG)
    before = blob_path(store, first[0]).stat().st_ino
    assert store.put_bytes(BIG) == first
    assert blob_path(store, first[0]).stat().st_ino == before
    assert len(files(store.root)) == 1


@pytest.mark.parametrize("bad", [b"grape", b"gra", b"", b"graph and more"], ids=["flip", "truncated", "empty", "longer"])
def test_a_damaged_blob_is_never_handed_out_and_is_set_aside(store: BlobStore, tmp_path: Path, bad: bytes) -> None:
    sha256, _ = store.put_bytes(b"graph")
    damage(blob_path(store, sha256), bad)
    with pytest.raises(StorageError, match=r"\.bad") as caught:
        store.get(sha256, tmp_path / "copy")
    assert caught.value.kind == "corrupt"
    assert files(tmp_path) == [f"store/blobs/{sha256[:2]}/{sha256[2:]}.bad"]
    assert not store.has(sha256)


@pytest.mark.parametrize("bad", [b"grape", b"gra"])
def test_putting_the_right_bytes_mends_a_damaged_blob(store: BlobStore, tmp_path: Path, bad: bytes) -> None:
    sha256, _ = store.put_bytes(b"graph")
    damage(blob_path(store, sha256), bad)
    store.put_bytes(b"graph")
    store.get(sha256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"graph"
    assert blob_path(store, sha256).with_name(f"{sha256[2:]}.bad").read_bytes() == bad


def test_a_missing_blob_is_named(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="0" * 64) as caught:
        store.get("0" * 64, tmp_path / "copy")
    assert caught.value.kind == "missing"


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_a_name_that_is_no_digest_never_becomes_a_path(store: BlobStore, name: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        store.has(name)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("at", range(1, 12))
def test_a_put_that_fails_anywhere_leaves_a_whole_blob_or_none_and_no_rubbish(tmp_path: Path, at: int, number: int) -> None:
    root = tmp_path / "store"
    sha256 = hashlib.sha256(BIG).hexdigest()
    try:
        BlobStore(root, Failing(at, number)).put_bytes(BIG)
    except StorageError:
        assert at <= 10, "a put makes ten calls"
    else:
        assert at == 11, f"call {at} failed unheard"
    assert all(path.read_bytes() == BIG for path in root.rglob("*") if path.is_file())
    BlobStore(root).put_bytes(BIG)
    assert files(root) == [f"blobs/{sha256[:2]}/{sha256[2:]}"]


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_a_get_that_fails_anywhere_keeps_the_old_file_or_gives_the_whole_new_one(
    store: BlobStore, tmp_path: Path, at: int
) -> None:
    sha256, _ = store.put_bytes(BIG)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "copy").write_bytes(b"old")
    try:
        BlobStore(store.root, Failing(at, errno.ENOSPC)).get(sha256, tmp_path / "out" / "copy")
    except StorageError as error:
        assert error.kind == "disk_full"
        assert (tmp_path / "out" / "copy").read_bytes() == b"old"
    else:
        assert at == 5
        assert (tmp_path / "out" / "copy").read_bytes() == BIG
    assert files(tmp_path / "out") == ["copy"]
    assert store.has(sha256)


def test_a_failed_sync_is_not_tried_again(tmp_path: Path) -> None:
    class OneBadSync(Disk):
        syncs = 0

        def sync(self, descriptor: int) -> None:  # noqa: ARG002
            self.syncs += 1
            raise OSError(errno.EIO, "Input/output error")

    disk = OneBadSync()
    with pytest.raises(StorageError):
        BlobStore(tmp_path / "store", disk).put_bytes(b"graph")
    assert disk.syncs == 1
    assert files(tmp_path) == []


def test_a_store_in_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StorageError, match="store"):
        BlobStore(tmp_path / "store").put_bytes(b"graph")


def put_many(root: str) -> None:
    for round_number in range(20):
        BlobStore(Path(root)).put_bytes(f"{round_number} ".encode() * 1000)


def test_four_processes_that_put_the_same_blobs_lose_and_mix_nothing(store: BlobStore, tmp_path: Path) -> None:
    processes = [get_context("fork").Process(target=put_many, args=(str(store.root),)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(files(store.root)) == 20
    for path in list((store.root / "blobs").rglob("*")):
        if path.is_file():
            store.get(path.parent.name + path.name, tmp_path / "copy")


@pytest.mark.skipif(shutil.which("mount") is None or os.geteuid() != 0, reason="needs the right to mount")
def test_a_real_full_disk_is_its_own_clear_error(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount")
    try:
        store = BlobStore(small)
        kept, _ = store.put_bytes(b"graph")
        with pytest.raises(StorageError, match="full") as caught:
            store.put_bytes(BIG)
        assert caught.value.kind == "disk_full"
        assert files(small) == [f"blobs/{kept[:2]}/{kept[2:]}"]
    finally:
        subprocess.run(["umount", small], check=True)
