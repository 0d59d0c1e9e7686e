from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator import doctor as examination
from orchestrator.commands import doctor
from orchestrator.doctor import Level, Symptom

GOOD = Symptom(area="ray", level=Level.GOOD, message="Ray starts")
NOTE = Symptom(area="disk", level=Level.NOTE, message="5 MB free\x1b", next="make room")
PROBLEM = Symptom(area="store", level=Level.PROBLEM, message="not writable", next="choose another one")


def unused(_: Sequence[str]) -> object:
    raise AssertionError("doctor configures nothing")


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> list[Symptom]:
    found: list[Symptom] = [GOOD, NOTE]
    monkeypatch.setattr(examination, "examine", lambda _, store: iter(found) if store == Path("a/.store") else iter([PROBLEM]))
    return found


def call(*typed: str) -> int:
    return doctor.main(["--runs", "a", *typed], unused)  # type: ignore[arg-type]


def test_a_note_does_not_stand_in_the_way(finds: list[Symptom], capsys: pytest.CaptureFixture[str]) -> None:
    assert call() == 0
    assert capsys.readouterr().out.splitlines() == [
        "+ ray        Ray starts",
        "! disk       5 MB free\\x1b",
        "             make room",
        "a run can start",
    ]
    finds.append(PROBLEM)
    assert call() == 1
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "x store      not writable",
        "             choose another one",
        "1 problem",
    ]


@pytest.mark.usefixtures("finds")
def test_a_script_gets_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--store", "elsewhere", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["schema_version"], found["symptoms"][0]["level"]) == (1, "problem")
