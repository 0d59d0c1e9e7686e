from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.report import terminal
from orchestrator.report.summary import Report, summarise
from orchestrator.result import FileRef, Status
from tests import synthetic

CPU = "resnet50-dynamo-opset20-float32-cpu"
ROOT = Path(__file__).parents[2]


def plain(report: Report, folder: Path = Path("/runs/r")) -> str:
    stream = io.StringIO()
    terminal.show(report, folder, terminal.console_on(stream))
    return stream.getvalue()


def on_terminal(report: Report, width: int) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, highlight=False, markup=False, emoji=False, _environ={})
    terminal.show(report, Path("/runs/r"), console)
    return stream.getvalue()


def passed() -> Report:
    return summarise(synthetic.plan(synthetic.unit()), synthetic.ledger(synthetic.result(CPU)))


def test_one_passed_cell() -> None:
    lines = [line.rstrip() for line in plain(passed()).splitlines()]
    assert lines == [
        "",
        f"✔ {CPU} passed  3 min 12 s",
        "",
        "  cell                                 status         worst error  opset    size  operators   time",
        "  " + "─" * 96,
        f"  {CPU}  passed  1.2e-06 of 3.4e-05     20  103 MB        103  9.9 s",
        "",
        "  report     /runs/r/report.html",
        "  artifact   /runs/r/artifacts/resnet50/float32/dynamo-opset20.onnx",
    ]


def test_every_status_is_a_row_and_every_failure_has_cause_next_step_and_files() -> None:
    report = summarise(*synthetic.every_status())
    text = plain(report)
    for cell in report.cells:
        assert any(cell.id in line and cell.status in line for line in text.splitlines())
    assert text.count("    next   ") == text.count("    files  /runs/r/cells/") == 7
    assert "    structure: the file is opset 18, asked for was 17" in text
    assert "export_failed (known)" in text
    assert text.splitlines()[-1] == "  artifacts  /runs/r/artifacts"


def test_the_verdict_comes_first_then_failures_then_paths() -> None:
    text = plain(summarise(*synthetic.every_status()))
    places = [text.index(part) for part in ("7 of 14 cells", "worst error", "    next   ", "known issue  ", "  report  ")]
    assert places == sorted(places)


def test_of_many_cells_only_those_are_rows_that_are_not_plainly_good() -> None:
    plan, records = synthetic.every_status()
    good = [synthetic.unit(f"m{i}") for i in range(terminal.MANY)]
    results = [synthetic.result(cell.id) for unit in good for cell in unit.cells]
    report = summarise(synthetic.plan(*plan.units, *good), synthetic.ledger(*(r.result for r in records[1:-1]), *results))
    lines = plain(report).splitlines()
    rows = {line.split()[0] for line in lines if "-float32-" in line and len(line.split()) > 3}
    assert {"segfault-dynamo-opset20-float32-cpu", "early_exit-torchscript-opset20-float32-cpu"} <= rows
    assert not {row for row in rows if row.startswith(("m1", "resnet50"))}


def test_of_many_failures_the_first_are_told() -> None:
    units = [synthetic.unit(f"m{i}") for i in range(terminal.FAILURES + 3)]
    failed = [synthetic.result(cell.id, Status.CRASHED) for unit in units for cell in unit.cells]
    text = plain(summarise(synthetic.plan(*units), synthetic.ledger(*failed)))
    assert text.count("\n    next   ") == terminal.FAILURES
    assert "  and 3 more, in report.html" in text.splitlines()


def test_where_nothing_was_delivered_no_artifact_is_named() -> None:
    report = summarise(synthetic.plan(synthetic.unit()), synthetic.ledger(synthetic.result(CPU, Status.CHECK_FAILED)))
    assert "artifact " not in plain(report)


def test_without_a_terminal_there_are_no_escapes_and_no_broken_lines() -> None:
    long = "x" * 1000
    report = summarise(synthetic.plan(synthetic.unit()), synthetic.ledger(synthetic.result(CPU, Status.CRASHED, reason=long)))
    text = plain(report, Path("/runs") / ("y" * 300))
    assert "\x1b" not in text
    assert f"    {long}\n" in text
    assert f"/runs/{'y' * 300}/cells/{CPU}\n" in text


def test_paths_below_the_current_folder_are_shown_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "  report     runs/r/report.html\n" in plain(passed(), tmp_path / "runs" / "r")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_on_a_terminal_the_table_fits_and_the_identifier_is_the_last_to_give_way(width: int) -> None:
    import rich.text

    text = rich.text.Text.from_ansi(on_terminal(passed(), width)).plain
    table = text[: text.index("  report")].splitlines()
    assert all(len(line.rstrip()) <= width for line in table[2:])
    assert (CPU in text[text.index("─") :]) or width < 80
    assert ("operators" in text) is (width >= 100)


def test_on_a_terminal_colours_tell_good_from_bad() -> None:
    assert "\x1b[32mpassed" in on_terminal(passed(), 120)
    assert "\x1b[1;31mcrashed" in on_terminal(summarise(*synthetic.every_status()), 160)


def test_nothing_from_elsewhere_is_obeyed() -> None:
    evil = "[bold]x[/bold] :smile: [link=http://x]y[/link] \x1b]0;title\x07"
    report = summarise(synthetic.plan(synthetic.unit()), synthetic.ledger(synthetic.result(CPU, Status.CRASHED, reason=evil)))
    report = replace(report, cells=(replace(report.cells[0], id=f"{CPU}[red]"),))
    for text in (plain(report), on_terminal(report, 200)):
        assert "[bold]x[/bold] :smile: [link=http://x]y[/link] \\x1b]0;title\\x07" in text
        assert "\x1b]0;title" not in text
        assert f"{CPU}[red]" in text


def test_a_stream_that_knows_ascii_only_gets_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    terminal.show(summarise(*synthetic.every_status()), Path("/runs/r"), terminal.console_on(stream))
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")
    assert text.splitlines()[1].startswith("x 7 of 14")
    assert "17 \\u2192 18" in text


def test_the_console_is_not_disturbed_by_what_happens_to_standard_output(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from orchestrator.report.terminal import open_console\n"
        "console = open_console()\n"
        f"os.dup2(os.open({str(tmp_path / 'log')!r}, os.O_WRONLY | os.O_CREAT), 1)\n"
        "print('from the model', flush=True)\n"
        "console.print('from us')\n"
    )
    done = subprocess.run(
        [sys.executable, "-Wdefault", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ
    )
    assert (done.stdout, done.stderr) == ("from us\n", "")
    assert (tmp_path / "log").read_text() == "from the model\n"


def test_a_reader_that_leaves_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", 1) as stream:
        console = terminal.console_on(stream)
        for _ in range(3):
            console.print("nobody reads this")


def test_what_is_worse_than_accepted_and_what_is_gone_is_told_with_the_rule_and_the_next_step() -> None:
    report = summarise(*synthetic.worse_than_accepted())
    text = plain(report)
    assert "✘ 1 of 2 cells did not end as expected, and 1 of the baseline is gone" in text
    assert f"{CPU}  passed (worse)" in text
    assert "baseline, size: 102 MB → 204 MB" in text
    assert f"next   If it is meant to be so: python -m orchestrator accept latest 'select=[{CPU}]'" in text
    assert "gone  gpt2-dynamo-opset20-float32-cpu: it was passed, and is not planned any more" in text
    assert "next   If it is meant to be gone: python -m orchestrator accept latest" in text


def at(level: Any, report: Report, folder: Path = Path("/runs/r")) -> str:
    stream = io.StringIO()
    terminal.show(report, folder, terminal.console_on(stream), level)
    return stream.getvalue()


def test_quiet_is_the_verdict_what_failed_and_where_it_is() -> None:
    assert len(at("quiet", passed()).split("\n")) == 5
    text = at("quiet", summarise(*synthetic.every_status()))
    assert "7 of 14 cells" in text
    assert text.count("    next   ") == 7
    assert "worst error" not in text
    assert "known issue  " not in text


def test_verbose_has_every_cell_and_what_checks_and_logs_of_failed_ones_said(tmp_path: Path) -> None:
    unit = synthetic.unit(opsets=range(1000, 1000 + terminal.MANY + 1))
    good, *rest = (cell.id for cell in unit.cells)
    log = FileRef(name="export.log", sha256="e" * 64, bytes=9)
    bad = synthetic.result(good, Status.EXPORT_FAILED, attachments=(log,))
    worse = synthetic.result(rest[0], Status.CHECK_FAILED)
    results = [bad, worse, *(synthetic.result(cell) for cell in rest[1:])]
    folder = tmp_path / "cells" / good
    folder.mkdir(parents=True)
    (folder / "export.log").write_text("first\n" * terminal.LOG_LINES + "a\x1b[2Jlast\n")
    report = summarise(synthetic.plan(unit), synthetic.ledger(*results))
    text = at("verbose", report, tmp_path)
    assert all(cell in text for cell in rest)
    assert rest[-1] not in plain(report, tmp_path)
    assert text.count("| first") == terminal.LOG_LINES - 1
    assert "| a\\x1b[2Jlast" in text
    assert "x parity       failed          logits is 8 off at [0, 3]" in text
