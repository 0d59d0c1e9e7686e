from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.commands import show
from orchestrator.errors import EnvironmentRefusedError, UserError
from orchestrator.result import Status
from tests import synthetic
from tests.nights import LSTM, RESNET, name_of, night


def unused(_: Sequence[str]) -> object:
    raise AssertionError("show configures nothing")


def call(*typed: str) -> int:
    return show.main(typed, unused)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    night(tmp_path / "runs", 1)
    night(tmp_path / "runs", 2, synthetic.result(RESNET), synthetic.result(LSTM, Status.CRASHED))
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("typed", "bad"), [([], True), ([name_of(2)], True), ([name_of(1)], False), ([f"runs/{name_of(2)}"], True)]
)
def test_a_run_is_shown_as_at_its_end(typed: list[str], bad: bool, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(*typed) == 0
    assert ("1 of 2 cells did not end as expected" in capfd.readouterr().out) is bad


@pytest.mark.parametrize("typed", [[RESNET], [name_of(2), RESNET], ["--runs", "runs", RESNET]])
def test_a_cell_is_shown_with_its_history(typed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*typed) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"passed  {RESNET}")
    assert f"runs/{name_of(2)}/cells/{RESNET}" in out
    assert [line.split()[0] for line in out.splitlines()[-2:]] == [name_of(2), name_of(1)]


def test_a_script_gets_the_report_or_the_cell_with_its_history(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--json") == 0
    assert json.loads(capsys.readouterr().out)["counts"]["crashed"] == 1
    assert call(LSTM, "--json", "--last", "1") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema_version"], found["cell"]["status"], len(found["history"])) == (1, "crashed", 1)
    assert found["history"][0]["changes"][0]["kind"] == "status"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["resnet50-dynamo-opset21-float32-cpu"], f"no such cell.*did you mean {RESNET}"),
        (["else"], f"no such cell.*did you mean {RESNET}"),
        (["20250101T000000Z-abc"], "no such folder"),
        (["runs/nowhere"], "no such folder"),
        ([name_of(1), "a", "b"], "a run and a cell"),
        (["--last", "0"], "at least one"),
        (["--runs", "nowhere"], "no run in nowhere yet"),
    ],
)
def test_wrong_use_is_told(typed: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        call(*typed)
    assert caught.value.exit_code == 2


def test_a_run_that_is_damaged_or_none_is_told(runs: Path) -> None:
    (runs / name_of(2) / "plan.json").write_bytes(b"{")
    with pytest.raises(EnvironmentRefusedError, match="damaged") as caught:
        call()
    assert caught.value.exit_code == 3
    with pytest.raises(EnvironmentRefusedError, match="no run folder"):
        call(str(runs.parent))


def test_nothing_is_written_into_the_run(runs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs.rglob(f"{name_of(2)}/**/*")}
    call()
    call(RESNET)
    assert {path: path.stat().st_mtime_ns for path in runs.rglob(f"{name_of(2)}/**/*")} == before
