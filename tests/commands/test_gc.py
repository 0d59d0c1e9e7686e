from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.commands import gc
from orchestrator.errors import EnvironmentRefusedError, UserError
from orchestrator.spec import RunSpec
from tests.nights import night
from tests.small_run import CPU, Run


def never(_: Sequence[str]) -> RunSpec:
    raise AssertionError("there is nothing to configure")


def call(*typed: str) -> int:
    return gc.main(typed, never)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With what a run needs, and an old blob that nothing does."""
    run = Run(tmp_path)
    run.finish(CPU)
    sha256, _ = run.store.put_bytes(b"x" * 2000)
    blob = run.store.root / "blobs" / sha256[:2] / sha256[2:]
    os.utime(blob, (0, 0))
    monkeypatch.chdir(tmp_path)
    return blob


def test_without_delete_it_is_only_told(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--store", "store") == 0
    assert "2.0 kB can go; --delete removes them" in capsys.readouterr().out
    assert store.exists()


def test_with_delete_it_goes(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--store", "store", "--delete") == 0
    assert "2.0 kB removed" in capsys.readouterr().out
    assert not store.exists()
    call("--store", "store", "--delete")
    assert "0 B removed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [(["--max-size", "much"], "--max-size much: no size"), (["--keep", "0"], "--keep 0: at least one day")],
)
def test_what_makes_no_sense_is_refused(store: Path, typed: list[str], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        call("--store", str(store.parents[2]), *typed)


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EnvironmentRefusedError, match="no store"):
        call()


def test_what_a_baseline_holds_stays_and_one_that_is_damaged_stops_it(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "baseline.json"
    path.parent.mkdir(exist_ok=True)
    sha256 = store.parent.name + store.name
    files = [{"name": "a.onnx", "sha256": sha256, "bytes": 2000}]
    cell = {"run": "a", "scope": [], "outcome": {"status": "passed"}, "files": files}
    path.write_text(json.dumps({"schema_version": 1, "cells": {"a": cell}}))
    call("--store", "store", "--delete")
    assert store.exists()
    path.write_text("{")
    with pytest.raises(EnvironmentRefusedError, match="damaged"):
        call("--store", "store", "--delete")


def test_old_runs_go_only_if_that_is_asked_for_and_what_they_referred_to_with_them(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = {*(tmp_path / "runs").iterdir()}
    old = night(tmp_path / "runs", 1)
    call("--store", "store", "--keep-runs", "3")
    assert "runs              1" in capsys.readouterr().out
    call("--store", "store", "--delete")
    assert old.exists()
    call("--store", "store", "--keep-runs", "3", "--delete")
    assert {*(tmp_path / "runs").iterdir()} == newest
    with pytest.raises(UserError, match="--keep-runs 0: at least one day"):
        call("--store", str(store), "--keep-runs", "0")
