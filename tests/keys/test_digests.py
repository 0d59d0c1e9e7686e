from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.keys.digests import FileDigests, of_value


def test_a_value_has_the_digest_of_its_canonical_text() -> None:
    text = b'{"a":[1,1.5,null,true],"b":"\\u00fc"}'
    assert of_value({"b": "ü", "a": [1, 1.5, None, True]}) == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), (1, True), (0.0, -0.0), ("1", 1), (None, "null"), ([], {}), ([1, 2], [2, 1])]
)
def test_what_differs_in_a_call_differs_in_the_digest(one: Any, other: Any) -> None:
    assert of_value({"x": one}) != of_value({"x": other})


def test_what_no_file_could_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        of_value(float("nan"))


def test_a_file_is_known_by_its_bytes_and_read_once(tmp_path: Path) -> None:
    files, file = FileDigests(), tmp_path / "weights.bin"
    file.write_bytes(b"one")
    assert files.of(file) == hashlib.sha256(b"one").hexdigest()
    stat = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert files.of(file) == hashlib.sha256(b"one").hexdigest()
    assert FileDigests().of(file) == hashlib.sha256(b"two").hexdigest()


def test_sources_count_by_path_and_bytes_wherever_the_root_is(tmp_path: Path) -> None:
    for root in ("one", "two"):
        (tmp_path / root / "code" / "inner").mkdir(parents=True)
        (tmp_path / root / "code" / "inner" / "a.py").write_text("a")
        (tmp_path / root / "single.py").write_text("b")
        (tmp_path / root / "code" / f"{root}.txt").write_text(root)
    places = ("code", "single.py")
    first = FileDigests().of_sources(tmp_path / "one", places)
    assert first == FileDigests().of_sources(tmp_path / "two", places)
    (tmp_path / "two" / "code" / "inner" / "a.py").rename(tmp_path / "two" / "code" / "a.py")
    assert first != FileDigests().of_sources(tmp_path / "two", places)
