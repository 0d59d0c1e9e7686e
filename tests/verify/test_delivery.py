from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from orchestrator.digest import digest_of
from orchestrator.verify import delivery
from orchestrator.verify.base import Candidate
from tests.verify import samples


def data_file(candidate: Candidate) -> Path:
    return candidate.folder / candidate.artifact.files[1].name


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link_to_a_copy(path: Path) -> None:
    copy = path.with_suffix(".copy")
    path.rename(copy)
    path.symlink_to(copy)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (flip_a_bit, "other bytes"),
    "a missing byte": (lambda path: os.truncate(path, path.stat().st_size - 1), "bytes instead of"),
    "no file": (Path.unlink, "is missing"),
    "a symbolic link": (link_to_a_copy, "no regular file"),
    "a hard link": (lambda path: os.link(path, path.with_suffix(".too")), "2 hard links"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", [0, 1])
def test_a_file_that_is_not_as_listed_fails(tmp_path: Path, damage: str, which: int) -> None:
    candidate = samples.pair(tmp_path)
    act, word = DAMAGES[damage]
    act(tmp_path / candidate.artifact.files[which].name)
    assert word in samples.failing(candidate)["delivery"]


def first_external(proto: onnx.ModelProto) -> onnx.TensorProto:
    return next(tensor for tensor in proto.graph.initializer if tensor.external_data)


def entry(proto: onnx.ModelProto, key: str) -> onnx.StringStringEntryProto:
    return next(entry for entry in first_external(proto).external_data if entry.key == key)


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("location", "../outside.data", "not delivered"),
        ("location", "/etc/hostname", "not delivered"),
        ("location", "other.data", "not delivered"),
        ("offset", "100000000", "ends at byte"),
        ("length", "100000000", "ends at byte"),
        ("length", "8", "its shape needs"),
        ("length", "", "not both numbers"),
        ("offset", "-4096", "not both numbers"),
    ],
)
def test_external_data_outside_of_what_is_delivered_fails(tmp_path: Path, key: str, value: str, word: str) -> None:
    candidate = samples.pair(tmp_path)
    proto = onnx.load(candidate.path, load_external_data=False)
    entry(proto, key).value = value
    candidate.path.write_bytes(proto.SerializeToString())
    files = (samples.ref(candidate.path), *candidate.artifact.files[1:])
    found = samples.failing(replace(candidate, artifact=replace(candidate.artifact, files=files)))
    assert word in found["delivery"]


def test_a_data_file_that_nothing_uses_fails(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    (tmp_path / "stale.data").write_bytes(b"old")
    files = (*candidate.artifact.files, samples.ref(tmp_path / "stale.data"))
    found = samples.failing(replace(candidate, artifact=replace(candidate.artifact, files=files)))
    assert found == {"delivery": "stale.data is delivered and not used"}


def test_weights_that_several_graphs_share_are_read_once_until_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LARGE", 1)
    read: list[str] = []
    monkeypatch.setattr(delivery, "digest_of", lambda path: read.append(path.name) or digest_of(path))
    candidate = samples.pair(tmp_path)
    for _ in range(3):
        assert "delivery" not in samples.failing(candidate)
    assert len(read) == 2
    times = data_file(candidate).stat()
    flip_a_bit(data_file(candidate))
    os.utime(data_file(candidate), ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "other bytes" in samples.failing(candidate)["delivery"]
