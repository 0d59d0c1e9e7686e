from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.commands import runs
from orchestrator.errors import UserError
from tests.nights import name_of, night


def call(folder: Path, *typed: str) -> int:
    return runs.main(["--runs", str(folder), *typed], unused)  # type: ignore[arg-type]


def unused(_: Sequence[str]) -> object:
    raise AssertionError("runs configures nothing")


def test_the_newest_come_first_and_no_more_than_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for day in (1, 2, 3):
        night(tmp_path, day)
    assert call(tmp_path, "--last", "2") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["run", name_of(3), name_of(2)]


def test_a_script_gets_json_and_sees_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night(tmp_path, 1)
    (tmp_path / name_of(2)).mkdir()
    assert call(tmp_path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1
    assert [(run["id"], run["problem"] is None) for run in found["runs"]] == [(name_of(2), False), (name_of(1), True)]
    assert found["runs"][1]["counts"]["passed"] == 2


@pytest.mark.parametrize(("typed", "message"), [([], "there is no run in .* yet"), (["--last", "0"], "at least one run")])
def test_wrong_use_is_told(tmp_path: Path, typed: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        call(tmp_path, *typed)
    assert caught.value.exit_code == 2
