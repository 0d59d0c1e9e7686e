from __future__ import annotations

import pytest

from tests.faults.concurrency import crowd, pair


def test_what_a_process_wants_is_there_although_a_collector_takes_what_nobody_uses() -> None:
    count, violations = crowd(rounds=25, writers=4)
    assert violations == []
    assert count["removed"] > 0


@pytest.mark.slow
def test_two_runs_at_once_with_one_store_end_like_one() -> None:
    assert [*pair()] == []
