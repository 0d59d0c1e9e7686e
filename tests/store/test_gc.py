from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.errors import EnvironmentRefusedError
from orchestrator.result import CellResult, FileRef
from orchestrator.store import gc
from orchestrator.store.blobs import BlobStore
from orchestrator.store.index import Index, prepare
from orchestrator.store.ledger import Ledger
from tests import synthetic
from tests.nights import night
from tests.small_run import CPU, Run

DAY = 24 * 3600.0
NOW = 1_800_000_000.0


class Store:
    """A store of outcomes that were used so many days ago."""

    def __init__(self, root: Path) -> None:
        self.root, self.blobs, self.index = root, BlobStore(root), Index(root)
        prepare(root)

    def outcome(self, name: str, days: float, *shared: bytes, size: int = 100) -> str:
        """Its key: an artifact of its own, and weights that others may have too."""
        files = [self.put(name.encode().ljust(size, b"."), days), *(self.put(data, days) for data in shared)]
        key = name.encode().hex().ljust(64, "0")
        self.index.put_verdict(key, synthetic.result(CPU, artifact=synthetic.artifact(*files), attachments=()))
        self.age(self.root / "index/verify" / key[:2] / f"{key[2:]}.json", days)
        return key

    def put(self, data: bytes, days: float) -> FileRef:
        sha256, size = self.blobs.put_bytes(data)
        self.age(self.root / "blobs" / sha256[:2] / sha256[2:], days)
        return FileRef(name="x", sha256=sha256, bytes=size)

    def age(self, path: Path, days: float) -> None:
        os.utime(path, (NOW - days * DAY, NOW - days * DAY))

    def find(self, *roots: Path, keep: float = 30, limit: int | None = None) -> gc.Garbage:
        return gc.find(self.root, roots, NOW, keep * DAY, limit)

    def left(self) -> set[bytes]:
        return {path.read_bytes().rstrip(b".") for path in (self.root / "blobs").rglob("*") if path.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_what_nobody_asked_for_goes_with_what_only_it_needs(store: Store) -> None:
    old, young = store.outcome("old", 40, b"shared", b"only old"), store.outcome("young", 5, b"shared")
    garbage = store.find()
    assert (len(garbage.entries), len(garbage.blobs)) == (1, 2)
    gc.remove(garbage)
    assert store.left() == {b"young", b"shared"}
    assert store.find().items == ()
    assert store.index.verdict(old) is None
    assert store.index.verdict(young) is not None


def test_what_a_run_refers_to_stays(store: Store, tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.finish(CPU)
    for path in (*(store.root / "blobs").rglob("*"), *(store.root / "index").rglob("*")):
        if path.is_file():
            store.age(path, 400)
    store.outcome("old", 40)
    gc.remove(store.find(run.path))
    left = store.left()
    assert {b"graph", b"weights", b"said"} <= left
    assert b"old" not in left


def test_a_limit_takes_what_was_not_asked_for_longest(store: Store) -> None:
    for days in (2, 3, 4):
        store.outcome(f"used {days}", days)
    gc.remove(store.find(limit=250))
    assert store.left() == {b"used 2", b"used 3"}


def test_what_was_used_in_the_last_day_stays_whatever_the_limit(store: Store) -> None:
    store.outcome("used", 0.5)
    store.put(b"nobody refers to it yet", 0.5)
    assert store.find(limit=1).items == ()


def test_leftovers_and_unreferenced_blobs_go_after_a_day(store: Store) -> None:
    left = store.root / "tmp" / ".blob.x.part"
    left.write_bytes(b"half")
    bad = store.root / "blobs" / "ab.bad"
    bad.parent.mkdir(exist_ok=True)
    bad.write_bytes(b"damaged")
    for path in (left, bad):
        store.age(path, 2)
    store.put(b"unreferenced", 2)
    garbage = store.find()
    assert {item.path for item in garbage.leftovers} == {left, bad}
    assert len(garbage.blobs) == 1


def test_what_is_used_after_it_was_found_stays(store: Store) -> None:
    key = store.outcome("old", 40)
    garbage = store.find()
    result = store.index.verdict(key)
    assert isinstance(result, CellResult)
    assert result.artifact is not None
    assert store.blobs.use(result.artifact.files[0].sha256)
    gc.remove(garbage)
    assert store.index.verdict(key) == result
    assert store.left() == {b"old"}


def test_what_has_gone_by_itself_since_it_was_found_is_no_error(store: Store) -> None:
    store.put(b"unreferenced", 2)
    left = store.root / "tmp" / ".blob.x.part"
    left.write_bytes(b"half")
    store.age(left, 2)
    garbage = store.find()
    left.unlink()
    gc.remove(garbage)
    assert store.find().items == ()


def test_one_collection_at_a_time(store: Store) -> None:
    with (
        gc.locked(store.root),
        pytest.raises(EnvironmentRefusedError, match="another garbage collection"),
        gc.locked(store.root),
    ):
        pass
    with gc.locked(store.root):
        pass
    with pytest.raises(EnvironmentRefusedError, match="no store"), gc.locked(store.root / "nowhere"):
        pass


def test_the_runs_of_a_store_are_found_and_one_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert gc.runs_of([tmp_path / "runs"], tmp_path / "store") == [run.path]
    assert gc.runs_of([tmp_path / "runs"], tmp_path / "other") == []
    (run.path / "plan.json").write_bytes(b"{")
    with pytest.raises(EnvironmentRefusedError, match="cannot be read"):
        gc.runs_of([tmp_path / "runs"], tmp_path / "store")


def test_what_was_accepted_stays_though_no_run_refers_to_it(store: Store) -> None:
    accepted, other = store.put(b"accepted", 90), store.put(b"other", 90)
    garbage = gc.find(store.root, [], NOW, 30 * DAY, pinned=[accepted.sha256])
    assert [item.path.parent.name + item.path.name for item in garbage.blobs] == [other.sha256]


def test_old_runs_are_all_but_the_newest_the_latest_and_those_at_work(tmp_path: Path) -> None:
    days = {day: night(tmp_path, day) for day in (1, 2, 3, 4, 9)}
    (tmp_path / "latest").symlink_to(days[2].name)
    now = datetime(2026, 1, 10, 12, tzinfo=UTC)
    assert gc.old_runs([tmp_path, tmp_path / "nowhere"], now, 5) == [days[4], days[3], days[1]]
    assert gc.old_runs([tmp_path], now, 8) == [days[1]]
    at_work, _ = Ledger.reopen(days[3] / "ledger.jsonl")
    assert gc.old_runs([tmp_path], now, 5) == [days[4], days[1]]
    at_work.close()
    shutil.rmtree(days[9])
    assert gc.old_runs([tmp_path], now, 5) == [days[3], days[1]]


def test_a_run_is_removed_as_a_whole(tmp_path: Path) -> None:
    run = night(tmp_path, 1)
    assert gc.bytes_of(run) > 1000
    gc.remove_run(run)
    assert [*tmp_path.iterdir()] == []
