from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.errors import EnvironmentRefusedError
from orchestrator.store.index import MARK, Index, prepare
from tests import synthetic

KEY, CELL = "ab" + "0" * 62, "resnet50-dynamo-opset20-float32-cpu"
RESULT = synthetic.result(CELL)
PARTS = {"tools": {"torch": "2.15.0"}, "opset": 20}


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = Index(tmp_path)
    index.put_exported(KEY, RESULT)
    index.put_verdict(KEY, RESULT)
    index.put_last(CELL, PARTS)
    return index


def test_what_was_put_is_found_and_nothing_else(index: Index, tmp_path: Path) -> None:
    other = KEY.replace("ab", "cd")
    for each in (index, Index(tmp_path)):
        assert (each.exported(KEY), each.verdict(KEY), each.last(CELL)) == (RESULT, RESULT, PARTS)
        assert (each.exported(other), each.verdict(other), each.last("x")) == (None, None, None)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data.replace(b"20", b"21"), lambda _: b"", lambda d: d + b" "]
)
def test_a_damaged_entry_is_set_aside_and_counts_as_absent(index: Index, tmp_path: Path, damage: object) -> None:
    files = list((tmp_path / "index").rglob("*.json"))
    assert len(files) == 3
    for path in files:
        path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert (index.exported(KEY), index.verdict(KEY), index.last(CELL)) == (None, None, None)
    assert sorted(tmp_path.rglob("*.json")) == []
    assert len([*tmp_path.rglob("*.json.bad")]) == 3
    index.put_verdict(KEY, RESULT)
    assert index.verdict(KEY) == RESULT


def test_an_entry_of_another_kind_or_version_counts_as_absent(index: Index, tmp_path: Path) -> None:
    (verdict,) = (tmp_path / "index/verify").rglob("*.json")
    (exported,) = (tmp_path / "index/export").rglob("*.json")
    verdict.write_bytes(exported.read_bytes())
    assert index.verdict(KEY) is None


def test_a_store_is_made_and_used_again(tmp_path: Path) -> None:
    prepare(tmp_path / "new" / "store")
    prepare(tmp_path / "new" / "store")
    assert (tmp_path / "new/store" / MARK).is_file()


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / MARK).write_text('{"schema_version": 99}')
    with pytest.raises(EnvironmentRefusedError, match="has schema 99"):
        prepare(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "what"])
def test_a_folder_with_a_damaged_mark_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MARK).write_text(text)
    with pytest.raises(EnvironmentRefusedError, match="is no store"):
        prepare(tmp_path)


def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentRefusedError, match="The store cannot be used"):
        prepare(tmp_path / "file" / "store")
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(EnvironmentRefusedError, match="The store cannot be used"):
            prepare(tmp_path / "closed")


def test_an_entry_under_another_ones_name_is_none(tmp_path: Path) -> None:
    index = Index(tmp_path)
    for cell in ("a", "b"):
        index.put_last(cell, {"cell": cell})
    (tmp_path / "index" / "cells" / "b.json").replace(tmp_path / "index" / "cells" / "a.json")
    assert index.last("a") is None
    assert (tmp_path / "index" / "cells" / "a.json.bad").is_file()
