from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator import baseline
from orchestrator.commands import accept
from orchestrator.errors import EnvironmentRefusedError, UserError
from orchestrator.result import Status
from orchestrator.store.ledger import RunStatus
from tests import synthetic
from tests.nights import LSTM, RESNET, UNITS, a_run, name_of, night, started


def unused(_: Sequence[str]) -> object:
    raise AssertionError("accept configures nothing")


def call(runs: Path, *typed: str) -> int:
    return accept.main([*typed, "--runs", str(runs)], unused)  # type: ignore[arg-type]


def test_what_passed_is_accepted_and_what_failed_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night(tmp_path, 1, synthetic.result(RESNET), synthetic.result(LSTM, Status.CRASHED))
    assert call(tmp_path, name_of(1)) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"not accepted  {LSTM}: it is crashed, and no known issue says so",
        f"1 cell accepted in {tmp_path / 'baseline.json'}",
    ]
    (cell,) = baseline.read(tmp_path).cells.values()
    assert (cell.run, cell.outcome.status) == (name_of(1), "passed")


def test_some_cells_may_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night(tmp_path, 1)
    assert call(tmp_path, name_of(1), "select=[lstm-*, *50-*]") == 0
    assert {*baseline.read(tmp_path).cells} == {LSTM, RESNET}
    (tmp_path / baseline.NAME).unlink()
    assert call(tmp_path, name_of(1), "select=lstm-*", "--json") == 0
    told = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert (told["schema_version"], told["accepted"], told["dropped"], told["refused"]) == (1, [LSTM], [], {})


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["nowhere"], "no such folder"),
        ([name_of(1), "lstm"], "accept takes a run, and"),
        ([name_of(1), "select=[]"], "names no cell"),
        ([name_of(1), "select=[gpt2-*]"], f"matches none of the 2 cells; they are called as {RESNET}"),
        ([name_of(2)], "did not reach its end; python -m orchestrator resume"),
    ],
)
def test_wrong_use_is_told_and_accepts_nothing(tmp_path: Path, typed: list[str], message: str) -> None:
    night(tmp_path, 1)
    a_run(tmp_path, name_of(2), synthetic.plan(*UNITS), [started(2), synthetic.ended(RunStatus.INTERRUPTED, 130)])
    with pytest.raises(UserError, match=message) as caught:
        call(tmp_path, *typed)
    assert caught.value.exit_code == 2
    assert not (tmp_path / baseline.NAME).exists()


@pytest.mark.parametrize("harmed", ["plan.json", "../baseline.json"])
def test_a_run_or_a_baseline_that_is_damaged_is_told(tmp_path: Path, harmed: str) -> None:
    (night(tmp_path, 1) / harmed).write_bytes(b"{")
    with pytest.raises(EnvironmentRefusedError, match="damaged") as caught:
        call(tmp_path, name_of(1))
    assert caught.value.exit_code == 3
