from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.commands import diff
from orchestrator.errors import EnvironmentRefusedError, UserError
from orchestrator.result import Status
from tests import synthetic
from tests.nights import LSTM, RESNET, name_of, night


def unused(_: Sequence[str]) -> object:
    raise AssertionError("diff configures nothing")


def call(folder: Path, *typed: str) -> int:
    return diff.main([*typed, "--runs", str(folder)], unused)  # type: ignore[arg-type]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    night(tmp_path, 1)
    night(tmp_path, 2)
    night(tmp_path, 3, synthetic.result(RESNET), synthetic.result(LSTM, Status.CRASHED))
    return tmp_path


def test_equal_runs_are_0_and_others_1(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(runs, name_of(1), name_of(2)) == 0
    assert capsys.readouterr().out == f"0 cells differ, 2 as before  ({name_of(1)} → {name_of(2)})\n"
    assert call(runs, name_of(2)) == 1
    assert capsys.readouterr().out.splitlines()[0] == LSTM


def test_a_script_gets_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(runs, name_of(1), name_of(3), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["schema_version"], found["before"], found["after"], found["same"]) == (1, name_of(1), name_of(3), 1)
    assert [cell["cell"] for cell in found["cells"]] == [LSTM]


def test_wrong_use_is_told(runs: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        call(runs, "nowhere")
    (runs / name_of(1) / "ledger.jsonl").write_bytes(b"")
    with pytest.raises(EnvironmentRefusedError, match="never started"):
        call(runs, name_of(1))
