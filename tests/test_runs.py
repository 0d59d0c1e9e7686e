from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from orchestrator.errors import UserError
from orchestrator.runs import RUNS, find, newest_first

OLD, NEW = "20260101T000000Z-ffffff", "20260102T000000Z-000000"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in (OLD, NEW, ".store", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "latest").symlink_to(OLD)
    return tmp_path


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
