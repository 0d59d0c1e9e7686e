from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.report import markdown, step_summary
from orchestrator.report.summary import Report, summarise
from tests import synthetic


def many(good: int, bad: int = 0) -> Report:
    """So many cells that passed, and so many that crashed."""
    report = summarise(*synthetic.every_status())
    (passed, *_), (crashed,) = report.cells, [cell for cell in report.cells if cell.model == "segfault"]
    cells = [replace(passed, id=f"good{n}") for n in range(good)] + [replace(crashed, id=f"bad{n}") for n in range(bad)]
    return replace(report, cells=tuple(cells))


def test_it_is_the_markdown_report_where_that_fits() -> None:
    report = many(3, 1)
    assert step_summary.render(report, step_summary.LIMIT).decode() == markdown.render(report)


def test_of_many_cells_those_stay_that_did_not_end_as_expected() -> None:
    report = many(15_000, 20)
    text = step_summary.render(report, step_summary.LIMIT).decode()
    assert len(markdown.render(report)) > step_summary.LIMIT
    assert "20 of 15020 cells did not end as expected" in text
    assert "good1" not in text
    assert "### `bad19`" in text


def test_what_still_does_not_fit_is_cut_between_lines_and_says_so() -> None:
    text = step_summary.render(many(0, 9_000), step_summary.LIMIT)
    assert len(text) <= step_summary.LIMIT
    *_, last, _, said, _ = text.decode().split("\n")
    assert "report.md" in said
    assert last in markdown.render(many(0, 9_000)).split("\n")


def test_it_is_appended_to_what_the_step_said_before_within_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_bytes(b"before\n" + bytes(step_summary.LIMIT - 3007))
    step_summary.append(many(100, 1), {step_summary.VARIABLE: str(file)})
    written = file.read_bytes()
    assert written.startswith(b"before\n")
    assert step_summary.LIMIT - 3000 < len(written) <= step_summary.LIMIT
    step_summary.append(many(1), {step_summary.VARIABLE: str(file)})
    assert len(file.read_bytes()) <= step_summary.LIMIT


def test_elsewhere_nothing_is_written_and_a_file_that_cannot_be_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step_summary.append(many(1), {})
    assert capsys.readouterr().err == ""
    step_summary.append(many(1), {step_summary.VARIABLE: str(tmp_path)})
    assert "GITHUB_STEP_SUMMARY" in capsys.readouterr().err
