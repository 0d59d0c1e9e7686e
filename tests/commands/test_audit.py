from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.commands import audit
from orchestrator.errors import EnvironmentRefusedError, UserError
from tests.small_run import HERE, Run, ended


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return ended(tmp_path)


def unused(_: Sequence[str]) -> object:
    raise AssertionError("audit configures nothing")


def call(*typed: str) -> int:
    return audit.main(typed, unused)  # type: ignore[arg-type]


def damage(run: Run) -> None:
    (run.path / HERE / "SHA256SUMS").unlink()


def damage_store(run: Run) -> Path:
    blob = next(path for path in run.store.root.rglob("blobs/*/*"))
    blob.chmod(0o644)
    blob.write_bytes(b"damaged")
    return blob


def test_nothing_wrong_is_one_line_and_0(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(str(run.path)) == call() == call("latest") == 0
    assert {line.partition(";")[0] for line in capsys.readouterr().out.splitlines()} == {"nothing is wrong"}


def test_a_problem_is_a_line_with_what_to_do_and_1(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    damage(run)
    assert call(str(run.path)) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first == f"missing    {HERE}/SHA256SUMS: is not there; python -m orchestrator report RUN writes it again"
    assert last.startswith("1 problem; ")


def test_the_store_alone_and_both_together(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    damage(run)
    blob = damage_store(run)
    assert call("--store", str(run.store.root)) == 1
    assert capsys.readouterr().out.startswith(f"damaged    {blob}: ")
    assert call("--store", str(run.store.root)) == 0
    assert ", 1 set aside before" in capsys.readouterr().out
    assert call(str(run.path), "--store", str(run.store.root)) == 1
    assert capsys.readouterr().out.startswith("missing")


def test_the_json_has_everything(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    damage(run)
    blob = damage_store(run)
    assert call(str(run.path), "--store", str(run.store.root), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["schema_version"], found["run"], found["store"]) == (1, str(run.path), str(run.store.root))
    assert [(problem["kind"], problem["path"]) for problem in found["problems"]] == [
        ("missing", f"{HERE}/SHA256SUMS"),
        ("damaged", str(blob)),
    ]
    assert all(problem["message"] and problem["next"] for problem in found["problems"])


def test_what_is_no_run_no_store_or_not_there_is_told(run: Run) -> None:
    with pytest.raises(EnvironmentRefusedError, match="no run folder"):
        call(str(run.path.parent))
    with pytest.raises(EnvironmentRefusedError, match="no store"):
        call("--store")
    with pytest.raises(UserError, match="no such folder"):
        call("nowhere")
