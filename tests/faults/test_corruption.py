from __future__ import annotations

from tests.faults.corruption import campaign


def test_what_is_damaged_is_told_never_served_and_made_anew() -> None:
    assert campaign(flips=4).violations == ()
