"""From outcomes to figures: a pure function of what was recorded."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Iterator, Sequence

from orchestrator.verify.registry import CHECKS
from tests.faults.row import Row
from tests.mutants.outcome import Benchmark, Outcome

SOLE = ("interface", "structure", "weights", "parity", "shapes", "branches", "mode", "extremes", "delivery")
"""Checks that must each be the only killer of some mutant."""
WANTED_MUTANTS, WANTED_SHARE, WANTED_CLEAN = 1000, 0.99, 300


def line(name: str, outcomes: Sequence[Outcome]) -> str:
    """One subject for a person who waits."""
    counted = counting(outcomes)
    caught = sum(one.caught for one in counted)
    return f"{name}: {caught} of {len(counted)} mutants caught, {len(alarms(outcomes))} false alarms"


def counting(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Mutants that are not equivalent."""
    return [one for one in outcomes if one.counts]


def alarms(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Clean exports and harmless changes that did not pass."""
    return [one for one in outcomes if one.kind != "mutant" and (one.failing or one.error)]


def survivors(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Mutants that nobody caught."""
    return [one for one in counting(outcomes) if not one.caught]


def without(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """By check, the mutants that only it catches: what its removal would cost."""
    found = Counter(next(iter(one.failing)) for one in counting(outcomes) if len(one.failing) == 1)
    return {check: found[check] for check in CHECKS}


def classes(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Counting mutants by fault, in the order of the catalogue."""
    from tests.mutants.catalogue import FAULTS

    counted = counting(outcomes)
    return {fault.name: [one for one in counted if one.fault == fault.name] for fault in FAULTS}


def share(part: int, whole: int) -> str:
    """As a percentage that rounds down, so that 100 % is all of them."""
    return "-" if not whole else "100 %" if part == whole else f"{int(1000 * part / whole) / 10} %"


def versions(names: Sequence[str]) -> dict[str, str]:
    """Of the packages that are there."""
    found = {}
    for name in names:
        for distribution in importlib.metadata.distributions(name=name):
            found[name] = distribution.version
    return found


def others(outcomes: Sequence[Outcome]) -> dict[str, tuple[int, int]]:
    """By tool, the mutants and the good artifacts that it objects to."""
    counted = counting(outcomes)
    good = [one for one in outcomes if one.kind != "mutant"]
    tools = dict.fromkeys(tool for one in outcomes for tool in one.others)
    return {
        tool: (sum(one.others.get(tool, False) for one in counted), sum(one.others.get(tool, False) for one in good))
        for tool in tools
    }


def rows(benchmark: Benchmark) -> Iterator[Row]:
    """The table that `make mutants` prints."""
    outcomes = benchmark.outcomes
    counted, by_class = counting(outcomes), classes(outcomes)
    caught = sum(one.caught for one in counted)
    yield Row(
        "mutants caught at standard",
        f">= {WANTED_SHARE:.0%} of {WANTED_MUTANTS}",
        f"{caught} of {len(counted)} ({share(caught, len(counted))})",
        _unless(caught >= WANTED_SHARE * len(counted) and len(counted) >= WANTED_MUTANTS, "too few mutants, or too few caught"),
    )
    whole = [name for name, ones in by_class.items() if ones and all(one.caught and one.named for one in ones)]
    partly = {name: ones for name, ones in by_class.items() if ones and name not in whole}
    yield Row("classes caught as a whole, by the check named for them", "", f"{len(whole)} of {len(by_class)}")
    for name, ones in partly.items():
        yield Row(f"  {name}", f"all, by {ones[0].check}", _partly(ones))
    missed = [name for name, ones in by_class.items() if not any(one.named for one in ones)]
    yield Row(
        "classes caught by the check named for them",
        "all",
        f"{len(by_class) - len(missed)} of {len(by_class)}",
        _each("never", missed),
    )
    good = [one for one in outcomes if one.kind != "mutant"]
    found = alarms(outcomes)
    yield Row(
        "clean exports and harmless changes",
        f">= {WANTED_CLEAN}, no alarm",
        f"{sum(one.kind == 'clean' for one in good)} and {sum(one.kind == 'harmless' for one in good)}, {len(found)} alarms",
        tuple(f"alarm: {told(one)}" for one in found) + _unless(len(good) >= WANTED_CLEAN, "too few good artifacts"),
    )
    only = without(outcomes)
    for check, lost in only.items():
        yield Row(
            f"score without {check}",
            "lower",
            f"{share(caught - lost, len(counted))} (it alone catches {lost})",
            _sole(check, lost),
        )
    for tool, (objected, wrongly) in others(outcomes).items():
        yield Row(f"the same mutants: {tool}", "", f"{share(objected, len(counted))}, {wrongly} alarms")
    equivalent = sum(one.equivalent for one in outcomes)
    placed = sum(one.kind == "mutant" and bool(one.error) for one in outcomes)
    yield Row("left out", "", f"{equivalent} equivalent, {placed} that could not be made")
    yield Row("seconds", "", f"{benchmark.seconds:.0f} with {benchmark.workers} processes")


def told(one: Outcome) -> str:
    """An artifact and what was said of it, in one line."""
    said = "; ".join(f"{check}: {detail}" for check, detail in one.failing.items())
    return f"{one.model} {one.exporter} opset {one.opset}: {one.fault or 'clean'} {one.where}: {one.error or said or 'nothing'}"


def _partly(ones: Sequence[Outcome]) -> str:
    caught, named = sum(one.caught for one in ones), sum(one.named for one in ones)
    return f"{caught} of {len(ones)}, {named} by it"


def _unless(fine: bool, problem: str) -> tuple[str, ...]:
    return () if fine else (problem,)


def _each(what: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{what}: {name}" for name in names)


def _sole(check: str, lost: int) -> tuple[str, ...]:
    return _unless(lost > 0 or check not in SOLE, f"{check} is the only killer of nothing")
