from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import provenance
from orchestrator.commands import resume
from orchestrator.commands.run import run
from orchestrator.errors import EnvironmentRefusedError, InterruptedRunError, UserError
from orchestrator.folder import read_plan
from orchestrator.report.summary import outcomes, summarise
from orchestrator.result import Origin, Status
from orchestrator.spec import RunSpec
from orchestrator.store import ledger
from orchestrator.store.index import Index
from orchestrator.store.ledger import RunResumed, RunStatus
from tests.commands.test_run import CONFIGS, only_run, schedule, spec

__all__ = ["schedule"]


def never(_: Sequence[str]) -> RunSpec:
    raise AssertionError("the folder's plan says everything")


def call(*typed: str) -> int:
    return resume.main(typed, never)


@pytest.fixture
def interrupted(tmp_path: Path, schedule: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run of three cells: one passed, one was lost, and then somebody pressed Ctrl-C."""
    monkeypatch.chdir(tmp_path)
    schedule(Status.PASSED, Status.INFRA_ERROR, InterruptedRunError("stop"))
    wanted = spec(tmp_path, "one", "two", "three")
    with pytest.raises(InterruptedRunError):
        run(replace(wanted, settings=replace(wanted.settings, trust=())), CONFIGS)
    return only_run(tmp_path)


def test_what_has_an_outcome_keeps_it_and_the_rest_is_done(interrupted: Path, schedule: Any) -> None:
    fake = schedule(Status.PASSED, Status.PASSED)
    assert call() == 0
    assert sorted(task.unit.model.name for task in fake.tasks) == ["three", "two"]
    records = ledger.read(interrupted / "ledger.jsonl")
    assert sum(isinstance(record, RunResumed) for record in records) == 1
    report = summarise(read_plan(interrupted), records)
    assert (report.run.status, report.run.exit_code, report.run.changes) == (RunStatus.FINISHED, 0, ())
    assert [(cell.model, cell.origin, cell.status) for cell in report.cells] == [
        ("one", Origin.RESUMED, Status.PASSED),
        ("two", Origin.RAN, Status.PASSED),
        ("three", Origin.RAN, Status.PASSED),
    ]


def test_an_outcome_that_the_killed_driver_could_only_put_on_record_is_known_to_later_runs(
    interrupted: Path, tmp_path: Path, schedule: Any
) -> None:
    shutil.rmtree(tmp_path / "store" / "index")
    schedule(Status.PASSED, Status.PASSED)
    assert call() == 0
    results = outcomes(ledger.read(interrupted / "ledger.jsonl")).values()
    keys = [result.verify_key for result in results]
    assert len(keys) == 3
    assert all(key and Index(tmp_path / "store").verdict(key) for key in keys)


def test_what_changed_in_between_is_told(
    interrupted: Path, schedule: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = provenance.versions()
    monkeypatch.setattr(provenance, "versions", lambda: {**before, "torch": "9.9"})
    schedule(Status.PASSED, Status.PASSED)
    assert call(str(interrupted)) == 0
    told = f"torch {before['torch']} → 9.9"
    assert f"since the run began: {told}\n" in capsys.readouterr().err
    assert told in (interrupted / "report.json").read_text()


def test_it_can_be_interrupted_again(interrupted: Path, schedule: Any) -> None:
    schedule(Status.PASSED, InterruptedRunError("stop"))
    with pytest.raises(InterruptedRunError):
        call()
    fake = schedule(Status.PASSED)
    assert call() == 0
    assert len(fake.tasks) == 1
    assert '"interrupted"' not in (interrupted / "report.json").read_text()


def test_a_run_that_reached_its_end_is_not_resumed(interrupted: Path, schedule: Any) -> None:
    schedule(Status.PASSED, Status.PASSED)
    call(str(interrupted))
    with pytest.raises(UserError, match="reached its end"):
        call(str(interrupted))


def test_where_there_is_no_run_nothing_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="there is no run in runs yet"):
        call()
    (tmp_path / "empty").mkdir()
    with pytest.raises(EnvironmentRefusedError, match="is no run folder"):
        call("empty")


def test_a_run_that_is_still_going_on_is_left_alone(interrupted: Path) -> None:
    writing, _ = ledger.Ledger.reopen(interrupted / "ledger.jsonl")
    with pytest.raises(EnvironmentRefusedError, match="another process is writing it"):
        call()
    writing.close()


def test_what_the_run_trusted_is_to_be_said_again(tmp_path: Path, schedule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    schedule(InterruptedRunError("stop"))
    with pytest.raises(InterruptedRunError):
        run(spec(tmp_path, "one"), CONFIGS)
    with pytest.raises(UserError, match=r"say so again: --trust 'mine\.\*'"):
        call()
    schedule(Status.PASSED)
    assert call("--trust", "mine.*") == 0


def test_what_came_from_the_cache_stays_there_through_a_resume(
    tmp_path: Path, schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = spec(tmp_path, "one")
    settings = replace(wanted.settings, trust=(), deliver="changed")
    schedule(Status.PASSED)
    assert run(replace(wanted, settings=settings), CONFIGS) == 0
    schedule(InterruptedRunError("stop"))
    with pytest.raises(InterruptedRunError):
        run(replace(spec(tmp_path, "one", "two"), settings=settings), CONFIGS)
    schedule(Status.PASSED)
    assert call() == 0
    (folder,) = {path.resolve() for path in (tmp_path / "runs").iterdir() if path.name == "latest"}
    report = summarise(read_plan(folder), ledger.read(folder / "ledger.jsonl"))
    assert [(cell.model, cell.origin) for cell in report.cells] == [("one", Origin.CACHE), ("two", Origin.RAN)]
    assert not any("one" in path.name for path in (folder / "cells").iterdir())
