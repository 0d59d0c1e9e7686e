from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.errors import EnvironmentRefusedError
from orchestrator.history import index
from orchestrator.history.index import RunEntry
from orchestrator.result import Origin, Status
from tests import synthetic
from tests.nights import LSTM, RESNET, UNITS, a_run, name_of, night


def runs_in(folder: Path) -> list[RunEntry]:
    with index.opened(folder) as history:
        return history.runs()


def names(folder: Path) -> list[str]:
    return [run.id for run in runs_in(folder)]


def statuses(folder: Path, day: int) -> Mapping[str, Status]:
    with index.opened(folder) as history:
        return {cell: entry.report.status for cell, entry in history.cells(name_of(day)).items()}


def facts(folder: Path) -> int:
    with sqlite3.connect(folder / index.NAME) as connection:
        (count,) = connection.execute("SELECT count(*) FROM facts").fetchone()
    connection.close()
    return int(count)


def test_no_folder_and_an_empty_one_hold_no_runs(tmp_path: Path) -> None:
    assert runs_in(tmp_path / "nowhere") == runs_in(tmp_path) == []
    assert not (tmp_path / "nowhere").exists()


def test_runs_are_told_newest_first_with_how_they_ended(tmp_path: Path) -> None:
    night(tmp_path, 1)
    night(tmp_path, 2, synthetic.result(RESNET), synthetic.result(LSTM, Status.CRASHED))
    newest, oldest = runs_in(tmp_path)
    assert (newest.id, newest.unexpected, oldest.id, oldest.unexpected) == (name_of(2), 1, name_of(1), 0)
    assert newest.counts
    assert newest.counts[Status.CRASHED] == newest.counts[Status.PASSED] == 1
    assert newest.report
    assert newest.report.exit_code == 1
    assert statuses(tmp_path, 2) == {RESNET: Status.PASSED, LSTM: Status.CRASHED}


def test_a_cell_is_followed_over_the_runs_that_planned_it(tmp_path: Path) -> None:
    night(tmp_path, 1)
    night(tmp_path, 2, units=[synthetic.unit("lstm")])
    night(tmp_path, 3, synthetic.result(RESNET, Status.TIMEOUT), synthetic.result(LSTM))
    with index.opened(tmp_path) as history:
        followed = [(run, entry.report.status, len(entry.files)) for run, entry in history.of_cell(RESNET)]
    assert followed == [(name_of(3), Status.TIMEOUT, 0), (name_of(1), Status.PASSED, 2)]


def test_it_is_brought_up_to_date_with_new_changed_and_removed_runs(tmp_path: Path) -> None:
    night(tmp_path, 1)
    assert names(tmp_path) == [name_of(1)]
    night(tmp_path, 2)
    shutil.rmtree(tmp_path / name_of(1))
    assert names(tmp_path) == [name_of(2)]
    shutil.rmtree(tmp_path / name_of(2))
    night(tmp_path, 2, synthetic.result(RESNET, Status.OOM))
    assert statuses(tmp_path, 2)[RESNET] is Status.OOM
    shutil.rmtree(tmp_path / name_of(2))
    assert names(tmp_path) == []
    assert facts(tmp_path) == 0


def test_cells_that_say_what_they_said_before_take_no_more_room(tmp_path: Path) -> None:
    night(tmp_path, 1)
    runs_in(tmp_path)
    before = facts(tmp_path)
    for day in (2, 3, 4):
        night(tmp_path, day)
    assert len(names(tmp_path)) == 4
    assert facts(tmp_path) == before == 2


def test_a_run_that_cannot_be_read_is_there_with_the_reason_and_hides_no_other(tmp_path: Path) -> None:
    night(tmp_path, 1)
    damaged = night(tmp_path, 2) / "ledger.jsonl"
    damaged.write_bytes(damaged.read_bytes().replace(b'"passed"', b'"failed"', 1))
    (tmp_path / name_of(3)).mkdir()
    night(tmp_path, 4)
    (tmp_path / name_of(4) / "ledger.jsonl").write_bytes(b"")
    problems = [run.problem for run in runs_in(tmp_path)]
    assert [problem and problem.partition(str(tmp_path))[0] for problem in problems] == ["The run ", "", "The ledger ", None]
    assert statuses(tmp_path, 2) == {}


@pytest.mark.parametrize("harm", [b"no database", b"SQLite format 3\0" + bytes(200), b""])
def test_an_index_that_is_damaged_is_made_anew(tmp_path: Path, harm: bytes) -> None:
    night(tmp_path, 1)
    runs_in(tmp_path)
    (tmp_path / index.NAME).write_bytes(harm)
    assert names(tmp_path) == [name_of(1)]
    assert facts(tmp_path) == 2


def test_an_index_of_another_version_of_us_is_made_anew(tmp_path: Path) -> None:
    night(tmp_path, 1)
    with sqlite3.connect(tmp_path / index.NAME) as connection:
        connection.execute("CREATE TABLE runs (other)")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    assert names(tmp_path) == [name_of(1)]


def test_where_it_cannot_be_kept_it_is_made_for_this_once(tmp_path: Path) -> None:
    night(tmp_path, 1)
    (tmp_path / index.NAME).mkdir()
    assert names(tmp_path) == [name_of(1)]


def test_the_same_from_an_index_that_was_kept_and_one_made_anew(tmp_path: Path) -> None:
    night(tmp_path, 1, synthetic.result(RESNET, origin=Origin.CACHE), synthetic.result(LSTM, Status.CHECK_FAILED))
    runs_in(tmp_path)
    night(tmp_path, 2)
    with index.opened(tmp_path) as history:
        kept = [history.runs(), history.cells(name_of(1)), history.cells(name_of(2))]
    (tmp_path / index.NAME).unlink()
    with index.opened(tmp_path) as history:
        assert [history.runs(), history.cells(name_of(1)), history.cells(name_of(2))] == kept


def test_the_report_of_a_run_is_read_from_its_truth(tmp_path: Path) -> None:
    folder = night(tmp_path, 1)
    assert [cell.id for cell in index.report_of(folder).cells] == [RESNET, LSTM]
    with pytest.raises(EnvironmentRefusedError, match="no run folder"):
        index.report_of(tmp_path)


def test_a_ledger_that_belongs_to_another_plan_is_told_as_that(tmp_path: Path) -> None:
    night(tmp_path, 1, synthetic.result("gpt2-dynamo-opset20-float32-cpu"))
    a_run(tmp_path, name_of(2), synthetic.plan(*UNITS), [synthetic.ended()])
    assert all("another plan" in (run.problem or "") for run in runs_in(tmp_path))
