from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.report.rest import Rest
from orchestrator.spec import Plan
from tests import synthetic


def plan(*units: tuple[int, float | None], workers: int = 1) -> Plan:
    """Units a, b, … of so many cells, with such estimates."""
    made = [
        replace(synthetic.unit(name, opsets=range(10, 10 + cells)), id=name, estimate=estimate)
        for name, (cells, estimate) in zip("abcdefghij", units, strict=False)
    ]
    whole = synthetic.plan(*made)
    cluster = replace(whole.settings.cluster, workers=workers)
    return replace(whole, settings=replace(whole.settings, cluster=cluster))


def done(rest: Rest, unit: str, begin: float, *ends: float) -> None:
    """A unit that began and whose cells ended then."""
    rest.started(unit, begin)
    for end in ends:
        rest.finished(unit, end)


def test_what_is_left_is_shared_by_the_workers() -> None:
    assert Rest(plan((1, 60.0), (1, 20.0), (1, 40.0), (1, 40.0), workers=2)).seconds(0.0) == 80.0


def test_it_takes_at_least_as_long_as_the_longest_unit() -> None:
    assert Rest(plan((1, 60.0), (1, 20.0), workers=8)).seconds(0.0) == 60.0


def test_one_unit_that_nobody_knows_leaves_nothing_to_say() -> None:
    assert Rest(plan((1, 60.0), (1, None))).seconds(0.0) is None


def test_units_without_an_estimate_go_at_the_pace_of_the_run_once_three_have_ended() -> None:
    rest = Rest(plan((2, None), (1, None), (1, None), (100, None)))
    done(rest, "a", 0.0, 10.0, 16.0)
    done(rest, "b", 16.0, 20.0)
    assert rest.seconds(20.0) is None
    done(rest, "c", 20.0, 28.0)
    assert rest.seconds(28.0) == 100 * 28.0 / 4


def test_a_twentieth_of_the_cells_is_enough_if_they_are_three() -> None:
    rest = Rest(plan((61, None)))
    done(rest, "a", 0.0, 4.0, 5.0, 6.0)
    assert rest.seconds(6.0) is None
    rest.finished("a", 8.0)
    assert rest.seconds(8.0) == 57 * 2.0
    few = Rest(plan((4, None)))
    done(few, "a", 0.0, 4.0, 5.0)
    assert few.seconds(5.0) is None


def test_an_estimate_counts_more_than_the_pace() -> None:
    rest = Rest(plan((1, None), (1, None), (1, None), (1, 100.0)))
    for at, unit in enumerate("abc"):
        done(rest, unit, at, at + 1.0)
    assert rest.seconds(3.0) == 100.0


@pytest.mark.parametrize(
    ("now", "finished", "left"),
    [
        (10.0, 0, 30.0),  # Only time has passed.
        (35.0, 1, 5.0),  # The first cell took what all share: the time is ahead of the cells.
        (10.0, 3, 10.0),  # Faster than before: the cells are ahead of the time.
    ],
)
def test_time_and_finished_cells_are_progress_within_a_unit(now: float, finished: int, left: float) -> None:
    rest = Rest(plan((4, 40.0)))
    done(rest, "a", 0.0, *[now] * finished)
    assert rest.seconds(now) == left


def test_a_stage_later_does_not_begin_the_unit_anew() -> None:
    rest = Rest(plan((1, 40.0)))
    rest.started("a", 0.0)
    rest.started("a", 30.0)
    assert rest.seconds(30.0) == 10.0


def test_a_unit_that_has_overrun_promises_nothing() -> None:
    rest = Rest(plan((1, 40.0), (1, 5.0)))
    rest.started("a", 0.0)
    assert rest.seconds(41.0) == 5.0
    done(rest, "b", 41.0, 44.0)
    assert rest.seconds(44.0) is None


def test_cells_that_end_without_work_are_less_to_do_and_no_pace() -> None:
    rest = Rest(plan((4, 40.0), (1, None)))
    rest.finished("a", 0.0)
    rest.finished("b", 0.0)
    assert rest.seconds(0.0) == 30.0
    assert "a" in rest
    assert "b" not in rest


def test_skipped_cells_are_no_work() -> None:
    rest = Rest(synthetic.plan(synthetic.unit("a", skip="no node has a CUDA device")))
    assert "a-dynamo-float32" not in rest
    assert rest.seconds(0.0) is None
