from __future__ import annotations

from pathlib import Path

from tests.faults.crashes import (
    Crash,
    Created,
    FolderSynced,
    Promised,
    Renamed,
    Step,
    Synced,
    Written,
    campaign,
    record,
    seeded,
)


def test_after_a_power_cut_no_wrong_byte_is_served_and_the_run_goes_on() -> None:
    assert campaign(states=50, seed=1).violations == ()


def test_everything_that_a_run_writes_is_recorded(tmp_path: Path) -> None:
    kinds = {type(step) for step in record(tmp_path)}
    assert kinds == {Created, Written, Synced, Renamed, FolderSynced, Promised}


def test_what_is_synced_is_kept_and_what_is_late_may_be_lost() -> None:
    folder = Path("/a")
    steps: list[Step] = [Created(0, folder / "t"), Written(0, b"whole"), Synced(0), Renamed(folder / "t", folder / "f")]
    crash = Crash(folders={folder, folder.parent})
    for step in steps:
        crash.take(step)
    assert crash.left(seeded(0), 1) == {folder / "f": b"whole"}
    assert crash.left(seeded(0), 0) == {}
    crash.take(FolderSynced(folder, frozenset()))
    crash.take(Written(0, b" and late"))
    assert {len(crash.left(seeded(seed), 0)[folder / "f"]) for seed in range(99)} == {*range(5, 15)}
    assert all(crash.left(seeded(seed), 0)[folder / "f"].startswith(b"whole") for seed in range(99))
