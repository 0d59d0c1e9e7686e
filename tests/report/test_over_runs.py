from __future__ import annotations

from pathlib import Path

from orchestrator.history import index
from orchestrator.history.compare import between
from orchestrator.history.followed import follow
from orchestrator.report import over_runs
from orchestrator.result import Status
from orchestrator.store.ledger import RunStatus
from tests import synthetic
from tests.nights import LSTM, RESNET, UNITS, a_run, name_of, night, started


def test_columns_are_as_wide_as_their_widest_text_and_nothing_in_them_is_obeyed() -> None:
    assert [*over_runs.aligned([("a", "bb", ""), ("ccc", "\x1b[2J", "d")], indent=1)] == [" a    bb", " ccc  \\x1b[2J  d"]


def test_a_line_per_run_says_how_it_ended(tmp_path: Path) -> None:
    night(tmp_path, 1)
    night(tmp_path, 2, synthetic.result(RESNET), synthetic.result(LSTM, Status.CRASHED), command=("python", "own.py"))
    a_run(tmp_path, name_of(3), synthetic.plan(*UNITS), [started(3), synthetic.ended(RunStatus.INTERRUPTED, 130)])
    (tmp_path / name_of(4)).mkdir()
    with index.opened(tmp_path) as history:
        lines = [*over_runs.runs(history.runs())]
    assert lines[1].startswith(f"{name_of(4)} ")
    assert "cannot be read" in lines[1]
    assert "no run folder" in lines[1]
    assert "interrupted" in lines[2]
    told = [text.strip() for text in lines[3].split("  ") if text]
    assert told == [name_of(2), "2026-01-02 03:04", "3 min 12 s", "2", "1 not as expected", "python own.py"]
    assert lines[4].endswith("as expected        +model=resnet50")


def test_a_cell_is_told_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    folder = night(tmp_path, 1, synthetic.result(RESNET, why_exported="first time"), synthetic.result(LSTM, Status.OOM))
    report = index.report_of(folder)
    passed, failed = ("\n".join(over_runs.cell(report.run, cell, folder)) for cell in report.cells)
    assert passed.startswith(f"passed  {RESNET}")
    for told in (
        "image  float32 [batch, 3, 224, ?]",
        "103 MB, 103 operators, opset 20",
        "capture 4.5 s",
        "1.53 GB",
        "first time",
    ):
        assert told in passed
    assert "in the store" in passed or str(folder / "artifacts") in passed
    assert "next     Give it more memory" in failed
    assert str(folder / "cells" / LSTM) in failed


def test_a_history_says_what_changed_each_night(tmp_path: Path) -> None:
    night(tmp_path, 1)
    night(tmp_path, 2, synthetic.result(RESNET, Status.TIMEOUT), synthetic.result(LSTM))
    with index.opened(tmp_path) as history:
        heading, second, first = over_runs.nights(follow(history, RESNET, last=5))
    assert heading.split() == ["run", "status", "worst", "error", "size", "operators", "time", "changed"]
    assert "timeout (not expected)" in second
    assert second.endswith("passed → timeout: capture: it took longer than 600 s")
    assert "1.2e-06 of 3.4e-05" in first
    assert first.endswith("9.9 s")


def test_a_diff_names_cells_components_and_how_many_are_as_before(tmp_path: Path) -> None:
    changed = synthetic.result(LSTM, Status.CHECK_FAILED, why_exported="torch 2.15.0 → 2.16.0")
    first, second = night(tmp_path, 1), night(tmp_path, 2, synthetic.result(RESNET), changed, versions={"torch": "2.16.0"})
    lines = [*over_runs.diff(between(index.report_of(first), index.report_of(second)))]
    assert "torch 2.15.0 → 2.16.0" in lines
    assert LSTM in lines
    assert "  status  passed → check_failed: parity: logits is 8 off at [0, 3]" in lines
    assert "  exported anew: torch 2.15.0 → 2.16.0" in lines
    assert lines[-1] == f"1 cell differs, 1 as before  ({name_of(1)} → {name_of(2)})"
