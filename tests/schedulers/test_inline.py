from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from orchestrator.result import CellFinished, CellResult
from orchestrator.schedulers.base import Program, load
from orchestrator.spec import ClusterSpec, UnitTask
from orchestrator.store.blobs import BlobStore
from tests.misbehaving import units

INLINE = ClusterSpec(kind="inline", workers=1, threads_per_worker=1)
PROGRAM = Program(function=units.FUNCTION, preload=())

run = load("inline")


def results(*tasks: UnitTask, function: str = units.FUNCTION) -> dict[str, CellResult]:
    events = run(tasks, INLINE, Program(function=function, preload=()))
    return {event.result.cell: event.result for event in events if isinstance(event, CellFinished)}


def log(result: CellResult, tmp_path: Path) -> str:
    BlobStore(tmp_path).get(result.attachments[0].sha256, tmp_path / "copy")
    return (tmp_path / "copy").read_text()


def test_a_unit_prints_into_its_log_and_the_consumer_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for event in run([units.make_task(tmp_path, "a", deed="warn", when="verify")], INLINE, PROGRAM):
        print(type(event).__name__)  # noqa: T201
        if isinstance(event, CellFinished):
            assert log(event.result, tmp_path) == "build for all\ncapture for all\nemit a\nverify a\na warning\n"
    assert capsys.readouterr().out.split() == ["StageStarted"] * 4 + ["CellFinished"]


def test_what_python_raises_or_exits_with_is_a_crash_and_the_next_cell_passes(tmp_path: Path) -> None:
    seen = results(
        units.make_task(tmp_path, "a", "b", deed="sys_exit", when="verify a"),
        units.make_task(tmp_path, "c", "d", deed="raise_error", when="verify c"),
    )
    assert {cell: result.status.value for cell, result in seen.items()} == {
        "a": "crashed",
        "b": "passed",
        "c": "crashed",
        "d": "passed",
    }
    assert seen["a"].reason == "verify: the process ended itself with exit code 3"
    assert seen["c"].error is not None
    assert seen["c"].error.traceback.endswith("RuntimeError: on purpose\n")


def test_ctrl_c_and_sigterm_go_through_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # A shell starts what runs in the background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGTERM), sys.stdout, sys.breakpointhook
    for deed in ("interrupt", "terminate"):
        with pytest.raises(KeyboardInterrupt):
            results(units.make_task(tmp_path / "store", "a", deed=deed, when="capture"))
    assert (signal.getsignal(signal.SIGTERM), sys.stdout, sys.breakpointhook) == before
    assert [path for path in tmp_path.iterdir() if path.name != "store"] == []


def test_closing_early_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = sys.stdout
    events = run([units.make_task(tmp_path, "a")], INLINE, PROGRAM)
    next(events)
    assert sys.stdout is not before
    events.close()
    assert sys.stdout is before
    assert list(tmp_path.iterdir()) == []


def test_a_breakpoint_talks_to_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answers = os.pipe()
    os.write(answers, b"p 'here, ' + 'in the model'\ncontinue\n")
    os.close(answers)
    with os.fdopen(asked) as keyboard, (tmp_path / "screen").open("w+") as screen:
        monkeypatch.setattr(sys, "__stdin__", keyboard)
        monkeypatch.setattr(sys, "__stdout__", screen)
        seen = results(units.make_task(tmp_path, "a", deed="debug", when="capture"))
        assert "here, in the model" in (tmp_path / "screen").read_text()
    assert seen["a"].status == "passed"
    assert "here" not in log(seen["a"], tmp_path)
