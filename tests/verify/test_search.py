from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from exporters.base import TensorSpec
from orchestrator.verify.search import Answered, Inputs, Outcomes, Search, search
from orchestrator.verify.sites import Site

SITE = Site(line="model.py:3", function="forward", text="if loud:", decides=True)
NUMBER = Site(line="model.py:4", function="forward", text="scale = x.item()", decides=False)
FLOAT = TensorSpec(name="signal", shape=(4,), dtype="float32")
IDS = TensorSpec(name="ids", shape=(4,), dtype="int64", generator="uniform", range=(0, 10))
MASK = TensorSpec(name="mask", shape=(4,), dtype="int64", generator="mask")
BASE: dict[str, torch.Tensor] = {
    "signal": torch.tensor([0.5, -0.25, 0.125, 1.0]),
    "ids": torch.tensor([1, 2, 3, 4]),
    "mask": torch.tensor([1, 1, 0, 0]),
}


def run(
    spec: TensorSpec, decide: Callable[[torch.Tensor], bool], *, budget: int = 24, seed: int = 0, raises: bool = False
) -> Search:
    """A search in the place of a model that decides by one input, and has not decided otherwise on its example."""

    def ask(inputs: Inputs) -> Answered:
        decided = decide(inputs[spec.name])
        return Answered(decided={SITE: (decided,)}, raised=raises and decided, usable=not (raises and decided))

    outcomes = Outcomes()
    outcomes.add({}, {SITE: (decide(BASE[spec.name]),)})
    return search(outcomes, [("example", {spec.name: BASE[spec.name]})], [spec], {}, ask, budget=budget, seed=seed)


@pytest.mark.parametrize(
    ("spec", "decide"),
    [
        (FLOAT, lambda x: bool(x.abs().max() > 5)),
        (FLOAT, lambda x: bool(x.abs().max() < 0.01)),
        (FLOAT, lambda x: bool(x.min() >= 0)),
        (FLOAT, lambda x: bool((x == 0).sum() > 2)),
        (FLOAT, lambda x: bool(x.isnan().any())),
        (IDS, lambda x: bool((x == 9).all())),
        (IDS, lambda x: bool((x == 0).any())),
        (MASK, lambda x: bool(x.all())),
    ],
    ids=["loud", "quiet", "positive", "sparse", "nan", "all the same", "one zero", "full mask"],
)
def test_the_usual_reasons_to_decide_are_found(spec: TensorSpec, decide: Callable[[torch.Tensor], bool]) -> None:
    found = run(spec, decide)
    ((name, inputs),) = found.turned
    assert decide(inputs[spec.name])
    assert name.startswith(f"example with {spec.name} ")


def test_it_stops_when_all_is_turned_and_else_when_the_budget_is_spent() -> None:
    assert run(FLOAT, lambda x: bool(x.abs().max() < 0.2)).evaluations == 1
    assert run(FLOAT, lambda _: False, budget=7) == Search(evaluations=7)


def test_the_same_seed_gives_the_same_inputs() -> None:
    one, other = (run(FLOAT, lambda x: bool((x == 0).sum() > 2), seed=3) for _ in range(2))
    assert one.turned[0][0] == other.turned[0][0]
    assert torch.equal(one.turned[0][1]["signal"], other.turned[0][1]["signal"])


def test_whole_numbers_stay_in_their_range_and_no_input_changes_in_place() -> None:
    seen: list[torch.Tensor] = []
    before = BASE["ids"].clone()

    def remember(ids: torch.Tensor) -> bool:
        seen.append(ids)
        return False

    run(IDS, remember, budget=40)
    assert len(seen) == 41
    assert all(int(ids.min()) >= 0 and int(ids.max()) < 10 for ids in seen)
    assert torch.equal(BASE["ids"], before)


def test_a_side_on_which_eager_raises_is_no_side_to_judge_on() -> None:
    found = run(FLOAT, lambda x: bool(x.abs().max() > 5), raises=True)
    assert found.turned == ()
    assert found.raising == {SITE}


SMALL, LARGE = {"batch": 2}, {"batch": 5}


@pytest.mark.parametrize(
    ("site", "one", "other", "proved"),
    [
        (SITE, (SMALL, (True,)), (SMALL, (False,)), True),
        (SITE, (SMALL, (True,)), (LARGE, (False,)), True),
        (SITE, (SMALL, (True, True)), (LARGE, (True,) * 5), False),
        (SITE, (SMALL, (True, True, False)), (SMALL, (True, False)), True),
        (SITE, (SMALL, (True, True, False)), (LARGE, (True, False)), False),
        (NUMBER, (SMALL, (0.5,)), (LARGE, (0.25,)), True),
        (NUMBER, (SMALL, (0.5,)), (LARGE, (0.5,)), False),
    ],
)
def test_a_site_is_proved_by_another_outcome_and_not_by_another_size(
    site: Site, one: tuple[dict[str, int], tuple[bool]], other: tuple[dict[str, int], tuple[bool]], proved: bool
) -> None:
    outcomes = Outcomes()
    outcomes.add(one[0], {site: one[1]})
    outcomes.add(other[0], {site: other[1]})
    assert (outcomes.unproved() == set()) == proved
