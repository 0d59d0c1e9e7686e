from __future__ import annotations

from tests.faults.kills import campaign


def test_a_run_whose_driver_or_supervisor_was_killed_ends_like_one_that_was_left_alone() -> None:
    row = campaign(kills=2)
    assert row.violations == ()
    assert row.measured.startswith("2 kills (driver 1, supervisor 1) of ")
