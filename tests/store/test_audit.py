from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from orchestrator.errors import EnvironmentRefusedError
from orchestrator.store.audit import Problem, Tally, audit_store
from orchestrator.store.blobs import BlobStore
from orchestrator.store.disk import Disk
from orchestrator.store.index import Index, prepare
from tests import synthetic

KEY = "1" * 64


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a blob, an entry of the index, a download and what a writer has not finished."""
    root = tmp_path / "store"
    prepare(root)
    BlobStore(root).put_bytes(b"graph")
    Index(root).put_verdict(KEY, synthetic.result("resnet50-dynamo-opset20-float32-cpu"))
    download = root / "downloads" / hashlib.sha256(b"weights").hexdigest() / "w.safetensors"
    download.parent.mkdir(parents=True)
    download.write_bytes(b"weights")
    (root / "tmp" / ".blob.0123456789ab.part").write_bytes(b"gra")
    return root


def audit(root: Path, disk: Disk | None = None) -> tuple[list[Problem], Tally]:
    tally = Tally()
    return list(audit_store(root, tally, disk or Disk())), tally


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def proved(root: Path) -> list[Path]:
    return [path for top in ("blobs", "index", "downloads") for path in (root / top).rglob("*") if path.is_file()]


def test_a_whole_store_has_no_problem_and_all_of_it_is_read(root: Path) -> None:
    before = files(root)
    problems, tally = audit(root)
    assert problems == []
    assert (tally.files, tally.bytes) == (3, sum(path.stat().st_size for path in proved(root)))
    assert files(root) == before


def test_what_a_writer_of_the_index_has_not_finished_is_left_to_it(root: Path) -> None:
    unfinished = root / "index" / "verify" / KEY[:2] / f".{KEY[2:]}.json.0123456789ab.part"
    unfinished.write_bytes(b"half an ent")
    problems, tally = audit(root)
    assert (problems, tally.set_aside) == ([], [])
    assert unfinished.exists()


@pytest.mark.parametrize("top", ["blobs", "index", "downloads"])
@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
def test_a_damaged_file_is_listed_and_set_aside_and_never_deleted(root: Path, top: str, harm: str) -> None:
    (path,) = (path for path in proved(root) if path.is_relative_to(root / top))
    whole = path.read_bytes()
    broken = {"flip": bytes([whole[0] ^ 1]) + whole[1:], "cut": whole[:-1], "empty": b""}[harm]
    path.chmod(0o644)
    path.write_bytes(broken)
    (problem,), _ = audit(root)
    assert (problem.kind, problem.path) == ("damaged", str(path))
    assert not path.exists()
    assert path.with_name(f"{path.name}.bad").read_bytes() == broken
    problems, tally = audit(root)
    assert problems == []
    assert tally.set_aside == [f"{path}.bad"]


def test_two_blobs_that_were_swapped_are_both_listed(root: Path) -> None:
    BlobStore(root).put_bytes(b"other")
    first, second = (path for path in proved(root) if path.is_relative_to(root / "blobs"))
    first.rename(root / "between")
    second.rename(first)
    (root / "between").rename(second)
    problems, _ = audit(root)
    assert {problem.path for problem in problems} == {str(first), str(second)}


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("/etc/passwd"), os.mkfifo])
def test_what_is_no_blob_is_listed_and_left_where_it_is(root: Path, make: object) -> None:
    stranger = root / "blobs" / "notes.txt"
    make(stranger)  # type: ignore[operator]
    (problem,), _ = audit(root)
    assert (problem.kind, problem.path) == ("extra", str(stranger))
    assert os.path.lexists(stranger)


class ReadOnly(Disk):
    def rename(self, source: Path, destination: Path) -> None:  # noqa: ARG002
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_store_that_may_not_be_written_is_audited_too(root: Path) -> None:
    (path,) = (path for path in proved(root) if path.is_relative_to(root / "downloads"))
    path.write_bytes(b"damaged")
    (problem,), _ = audit(root, ReadOnly())
    assert problem.kind == "damaged"
    assert "could not be set aside" in problem.message
    assert path.exists()


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentRefusedError, match="is no store"):
        audit(tmp_path)


@pytest.mark.parametrize(("mark", "message"), [('{"schema_version": 99}', "use the newer one"), ("{", "damaged")])
def test_a_store_of_a_newer_version_or_with_a_damaged_mark_is_refused(root: Path, mark: str, message: str) -> None:
    (root / "store.json").write_text(mark)
    with pytest.raises(EnvironmentRefusedError, match=message):
        audit(root)


def test_a_store_from_before_there_was_a_mark_is_one(root: Path) -> None:
    (root / "store.json").unlink()
    assert audit(root)[0] == []
