from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from orchestrator.errors import UserError
from orchestrator.runs import RUN_ID, RUNS, find, new_id, newest_first

OLD, NEW = "20260101T000000Z-ffffff", "20260102T000000Z-000000"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in (OLD, NEW, ".store", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "latest").symlink_to(OLD)
    return tmp_path


def test_ids_sort_as_runs_begin_and_two_of_one_instant_differ() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, 9, tzinfo=UTC)
    first, later = (new_id(now + timedelta(microseconds=delta)) for delta in (0, 999_990))
    assert first.startswith("20260102T030405Z-00009") and first < later
    assert RUN_ID.fullmatch(first)
    assert len({new_id(now) for _ in range(50)}) > 1


def test_only_run_folders_are_runs_and_the_newest_comes_first(runs: Path) -> None:
    assert [folder.name for folder in newest_first(runs)] == [NEW, OLD]


def test_without_a_name_the_newest_is_meant_finished_or_not(runs: Path) -> None:
    assert find(None, runs) == runs / NEW


def test_a_run_is_found_by_its_name_by_the_link_and_by_its_path(runs: Path) -> None:
    assert find(OLD, runs) == find("latest", runs) == find(str(runs / OLD)) == runs / OLD


@pytest.mark.parametrize("typed", ["20260103T000000Z-000000", "nul\0", None])
def test_a_folder_that_is_not_there_is_told(runs: Path, typed: str | None) -> None:
    with pytest.raises(UserError, match=r"there is no .*notes"):
        find(typed, runs / "notes")


def test_the_default_is_that_of_the_configuration() -> None:
    text = (Path(__file__).parents[1] / "conf" / "config.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["hydra"]["sweep"]["dir"] == str(RUNS)
