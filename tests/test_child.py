from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from orchestrator import child
from orchestrator.result import CellFinished, StageStarted
from tests.misbehaving import units


def messages(function: str, tmp_path: Path) -> list[child.Message]:
    """What a child would send, worked in this process; the log is a file that somebody else writes to."""
    (tmp_path / "log").write_text("12345")
    request = child.Request(
        function=function,
        task=units.make_task(tmp_path / "store", "a", "b"),
        folder=str(tmp_path),
        temporary=str(tmp_path),
    )
    receiver, sender = os.pipe()
    with os.fdopen(receiver, "rb") as lines, (tmp_path / "log").open("ab") as log:
        with os.fdopen(sender, "wb") as events:
            child.stream(request, events.fileno(), log.fileno())
        return [msgspec.json.decode(line, type=child.Message) for line in lines]


def test_events_are_streamed_with_the_length_of_the_log_and_then_the_end(tmp_path: Path) -> None:
    *happened, ended = messages(units.FUNCTION, tmp_path)
    assert [type(message.event) for message in happened] == [StageStarted] * 4 + [CellFinished] + [StageStarted] * 2 + [
        CellFinished
    ]
    assert {message.log_bytes for message in happened} == {5}
    assert ended == child.Ended(threads=())


def test_what_the_function_raises_goes_through(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="no_such_function"):
        messages("tests.misbehaving.units:no_such_function", tmp_path)


def test_a_request_survives_json(tmp_path: Path) -> None:
    request = child.Request(function="a:b", task=units.make_task(tmp_path, "a"), folder="/x", temporary="/y")
    assert msgspec.json.decode(msgspec.json.encode(request), type=child.Request) == request


@pytest.mark.parametrize(("raised", "code"), [(SystemExit(), 0), (SystemExit(3), 3), (SystemExit("bye"), 1)])
def test_exit_codes_are_those_of_the_interpreter(raised: SystemExit, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert child.exit_code(raised) == code
    assert capsys.readouterr().err == ("bye\n" if raised.code == "bye" else "")
