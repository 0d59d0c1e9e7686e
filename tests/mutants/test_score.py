"""The figures, by outcomes that are made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.mutants import heat_map, outcome, page, score
from tests.mutants.outcome import Benchmark, Outcome

CAUGHT = Outcome(
    kind="mutant",
    model="small",
    exporter="dynamo",
    opset=20,
    seed=0,
    fault="bias zeroed",
    where="first.bias",
    check="weights",
    failing={"weights": "first.bias is gone"},
    distance=0.1,
    others={"eyes": False},
    seconds=0.1,
)
TWICE = replace(CAUGHT, failing={"parity": "off", "weights": "gone"}, others={"eyes": True})
SURVIVOR = replace(CAUGHT, failing={})
EQUIVALENT = replace(CAUGHT, distance=0.0)
NOT_MADE = replace(CAUGHT, error="exit code -11", failing={})
CLEAN = replace(CAUGHT, kind="clean", fault="", check="", failing={}, distance=None)
ALARM = replace(CLEAN, kind="harmless", fault="nodes reordered", failing={"parity": "off"})
ALL = (CAUGHT, TWICE, SURVIVOR, EQUIVALENT, NOT_MADE, CLEAN, ALARM)
BENCHMARK = Benchmark(tuning=False, seed=0, seconds=1.0, workers=1, versions={"torch": "2"}, outcomes=ALL)


def test_equivalent_mutants_and_those_that_could_not_be_made_do_not_count() -> None:
    assert score.counting(ALL) == [CAUGHT, TWICE, SURVIVOR]
    assert score.survivors(ALL) == [SURVIVOR]


def test_an_alarm_is_a_good_artifact_that_fails() -> None:
    assert score.alarms(ALL) == [ALARM]


def test_what_the_removal_of_a_check_costs_is_what_it_alone_catches() -> None:
    found = score.without(ALL)
    assert (found["weights"], found["parity"]) == (1, 0)


def test_other_tools_are_counted_on_mutants_and_on_good_artifacts() -> None:
    assert score.others(ALL) == {"eyes": (1, 0)}


def test_a_share_is_not_rounded_up() -> None:
    assert [score.share(999_999, 1_000_000), score.share(7, 7), score.share(0, 0)] == ["99.9 %", "100 %", "-"]


def test_a_promise_that_is_not_kept_is_a_violation() -> None:
    violations = [violation for row in score.rows(BENCHMARK) for violation in row.violations]
    assert any("too few mutants" in violation for violation in violations)
    assert any("nodes reordered" in violation for violation in violations)
    assert any("never: one element x 1.001" in violation for violation in violations)


def test_outcomes_survive_their_file(tmp_path: Path) -> None:
    outcome.write(BENCHMARK, tmp_path / "outcomes.json")
    assert outcome.read(tmp_path / "outcomes.json") == BENCHMARK


def test_the_page_tells_survivors_and_equivalent_mutants() -> None:
    told = page.render(BENCHMARK)
    assert "| bias zeroed | weights | 3 | 2 | 2 | 1 |" in told
    assert "| bias zeroed | small dynamo opset 20: first.bias | 1.0e-01 |" in told
    assert "| bias zeroed | 1 | 1 | small dynamo: first.bias |" in told


def test_the_picture_has_a_line_for_each_fault_and_is_xml() -> None:
    from xml.etree import ElementTree

    drawn = ElementTree.fromstring(heat_map.render(BENCHMARK))  # noqa: S314
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"bias zeroed", "weights", "eyes", "66", "33"} <= set(texts)
