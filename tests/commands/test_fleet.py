from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.commands import fleet
from orchestrator.errors import UserError
from tests.nights import LSTM, RESNET, name_of, night


def unused(_: Sequence[str]) -> object:
    raise AssertionError("fleet configures nothing")


def call(runs: Path, *typed: str) -> int:
    return fleet.main(["--runs", str(runs), *typed], unused)  # type: ignore[arg-type]


def test_the_page_lies_beside_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night(tmp_path, 1)
    assert call(tmp_path) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'fleet.html'}\n"
    assert RESNET in (tmp_path / "fleet.html").read_text()


def test_a_script_gets_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night(tmp_path, 1)
    night(tmp_path, 2)
    assert call(tmp_path, "--json", "--last", "1") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema_version"], found["nights"]) == (1, [name_of(2)])
    assert [(cell["cell"], cell["red_since"]) for cell in found["cells"]] == [(LSTM, None), (RESNET, None)]
    assert not (tmp_path / "fleet.html").exists()


@pytest.mark.parametrize(("typed", "message"), [([], "no finished run"), (["--last", "0"], "at least one night")])
def test_wrong_use_is_told(tmp_path: Path, typed: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call(tmp_path, *typed)
