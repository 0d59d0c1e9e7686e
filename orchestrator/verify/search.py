"""Looks for inputs on which eager decides otherwise: seeded changes of the probes, counted in evaluations, never in seconds."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from exporters.base import TensorSpec
from orchestrator.spec import VerifyLevel
from orchestrator.verify.sites import Site, Value

BUDGET = {VerifyLevel.STANDARD: 24, VerifyLevel.STRICT: 48}
"""Evaluations of eager; only a model that asks for values costs any, and it stops when every decision has been turned."""
FACTORS = (0.1, 10.0, -1.0, 0.0, 0.01, 100.0, 0.001, 1000.0)
"""By which a floating input is scaled, the likelier ones first."""

Inputs = Mapping[str, torch.Tensor]
Decided = Mapping[Site, tuple[Value, ...]]


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What one evaluation of eager told."""

    decided: Decided
    raised: bool
    usable: bool
    """It answered, and with finite numbers only: an artifact can be judged on it."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a search came to."""

    turned: tuple[tuple[str, Inputs], ...] = ()
    """Inputs on which some decision falls otherwise, each with what was done to which probe."""
    raising: frozenset[Site] = frozenset()
    """Decisions on whose other side eager raises and answers nothing."""
    evaluations: int = 0


class Outcomes:
    """What each site has been seen to decide."""

    def __init__(self) -> None:
        self._seen: dict[Site, list[tuple[Mapping[str, int], tuple[Value, ...]]]] = {}

    def add(self, sizes: Mapping[str, int], decided: Decided) -> None:
        """Remember what was decided on inputs of these sizes."""
        for site, values in decided.items():
            self._seen.setdefault(site, []).append((sizes, values))

    def turned_by(self, sizes: Mapping[str, int], decided: Decided) -> set[Site]:
        """The sites that decide otherwise than they ever did; none of those that are seen for the first time."""
        return {
            site
            for site, values in decided.items()
            if any(differ(site, (sizes, values), before) for before in self._seen.get(site, ()))
        }

    def unproved(self) -> set[Site]:
        """The sites that have decided in one way only."""
        return {
            site
            for site, seen in self._seen.items()
            if not any(differ(site, one, other) for one, other in itertools.combinations(seen, 2))
        }


def differ(
    site: Site, one: tuple[Mapping[str, int], tuple[Value, ...]], other: tuple[Mapping[str, int], tuple[Value, ...]]
) -> bool:
    """Whether a site decided otherwise; at other sizes it may be asked more often, and only what it says counts."""
    (sizes, values), (other_sizes, other_values) = one, other
    if sizes != other_sizes and site.decides:
        return set(values) != set(other_values)
    return values != other_values


def search(
    outcomes: Outcomes,
    bases: Sequence[tuple[str, Inputs]],
    specs: Sequence[TensorSpec],
    sizes: Mapping[str, int],
    ask: Callable[[Inputs], Answered],
    *,
    budget: int,
    seed: int,
) -> Search:
    """Ask eager about changed inputs until every site has decided both ways or the budget is spent.

    Args:
        outcomes: What the probes showed; what the search sees is added.
        bases: Names and inputs of the probes to change, all of the same sizes.
        specs: The inputs.
        sizes: Of all named dimensions in the bases.
        ask: Runs eager.
        budget: Evaluations.
        seed: Of what is drawn.
    """
    turned: list[tuple[str, Inputs]] = []
    raising: set[Site] = set()
    count = 0
    candidates = changed(bases, specs, np.random.default_rng(seed))
    while count < budget and (wanted := outcomes.unproved() - raising):
        name, inputs = next(candidates)
        answered = ask(inputs)
        count += 1
        news = outcomes.turned_by(sizes, answered.decided) & wanted
        if answered.usable:
            outcomes.add(sizes, answered.decided)
            if news:
                turned.append((name, inputs))
        elif answered.raised:
            raising |= news
    return Search(turned=tuple(turned), raising=frozenset(raising - _proved(outcomes, raising)), evaluations=count)


def changed(
    bases: Sequence[tuple[str, Inputs]], specs: Sequence[TensorSpec], rng: np.random.Generator
) -> Iterator[tuple[str, Inputs]]:
    """Inputs like the bases with one of them changed, then without end with several."""
    for number in range(max(len(list(_changes(spec, rng))) for spec in specs)):
        for (base, inputs), spec in itertools.product(bases, specs):
            changes = list(_changes(spec, rng))
            if number < len(changes):
                words, change = changes[number]
                yield f"{base} with {spec.name} {words}", {**inputs, spec.name: change(inputs[spec.name])}
    while True:
        base, inputs = _drawn(bases, rng)
        done = []
        for spec in specs:
            words, change = _drawn(list(_changes(spec, rng)), rng)
            inputs = {**inputs, spec.name: change(inputs[spec.name])}
            done.append(f"{spec.name} {words}")
        yield f"{base} with {', '.join(done)}", inputs


Change = tuple[str, Callable[[torch.Tensor], torch.Tensor]]


def _changes(spec: TensorSpec, rng: np.random.Generator) -> Iterator[Change]:
    """What can be done to an input, in words and in deed; whole numbers stay in their range, since they may be indices."""
    if getattr(torch, spec.dtype).is_floating_point:
        return _of_floats(int(rng.integers(2**31)))
    return _of_integers(spec, int(rng.integers(2**31)))


def _of_floats(seed: int) -> Iterator[Change]:
    for factor in FACTORS:
        yield f"x {factor:g}", functools.partial(torch.mul, other=factor)
    yield "made positive", torch.abs
    yield "made negative", lambda value: -value.abs()
    yield "with one element of 1000", lambda value: _one_element(value, 1000.0, seed)
    yield "zero but for one element", lambda value: _all_but_one(value, seed)
    yield "shifted by 1", lambda value: value + 1
    yield "shifted by -1", lambda value: value - 1
    yield "with one NaN", lambda value: _one_element(value, float("nan"), seed)


def _of_integers(spec: TensorSpec, seed: int) -> Iterator[Change]:
    # A mask holds ones and zeros, and so does what declares no range.
    low, high = (0, 2) if spec.generator == "mask" or spec.range is None else (int(spec.range[0]), int(spec.range[1]))
    top = max(high - 1, low)
    yield f"all {top}", lambda value: torch.full_like(value, top)
    yield f"all {low}", lambda value: torch.full_like(value, low)
    yield "reversed", lambda value: value.flip(-1) if value.ndim else value
    yield f"with one element of {low}", lambda value: _one_element(value, low, seed)
    yield f"with one element of {top}", lambda value: _one_element(value, top, seed)


T = TypeVar("T")


def _drawn(items: Sequence[T], rng: np.random.Generator) -> T:
    return items[int(rng.integers(len(items)))]


def _one_element(value: torch.Tensor, element: float, seed: int) -> torch.Tensor:
    answer = value.clone()
    if answer.numel():
        answer.view(-1)[seed % answer.numel()] = element
    return answer


def _all_but_one(value: torch.Tensor, seed: int) -> torch.Tensor:
    answer = torch.zeros_like(value)
    if answer.numel():
        answer.view(-1)[seed % answer.numel()] = value.reshape(-1)[seed % answer.numel()]
    return answer


def _proved(outcomes: Outcomes, sites: set[Site]) -> set[Site]:
    return sites - outcomes.unproved()
