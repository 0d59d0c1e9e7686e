from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.commands import publish
from orchestrator.errors import EnvironmentRefusedError, UserError
from orchestrator.store.ledger import RunStatus
from tests.small_run import CPU, Run
from tests.small_run import ended as with_a_failure
from tests.test_publish import ended


def unused(_: Sequence[str]) -> object:
    raise AssertionError("publish configures nothing")


def call(run: Run, *typed: str) -> int:
    return publish.main([str(run.path), *typed], unused)  # type: ignore[arg-type]


def test_a_model_is_published_and_the_second_time_it_is_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, folder = ended(tmp_path), tmp_path / "deep/models"
    assert call(run, str(folder)) == call(run, str(folder)) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"published  resnet50: {folder / 'resnet50'}"
    assert second == f"as before  resnet50: nothing of it changed since {run.path.name}"


def test_a_model_that_is_withheld_is_1_and_a_script_gets_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(with_a_failure(tmp_path), str(tmp_path / "models"), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert [(model["model"], model["published"], model["withheld"]) for model in found["models"]] == [("resnet50", False, True)]


def test_wrong_use_is_told(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.finish(CPU)
    run.folder.close(RunStatus.INTERRUPTED)
    with pytest.raises(UserError, match="did not reach its end"):
        call(run, str(tmp_path / "models"))
    with pytest.raises(UserError, match="--keep 0: at least"):
        call(run, str(tmp_path / "models"), "--keep", "0")
    with pytest.raises(UserError, match="no such folder"):
        publish.main(["nowhere", "models", "--runs", str(tmp_path)], unused)  # type: ignore[arg-type]
    (run.path / "plan.json").write_bytes(b"{")
    with pytest.raises(EnvironmentRefusedError, match="damaged"):
        call(run, str(tmp_path / "models"))
    assert not (tmp_path / "models").exists()
