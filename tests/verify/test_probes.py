from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from exporters.base import Dim, TensorSpec
from orchestrator.spec import CaseSpec, VerifyLevel
from orchestrator.verify.probes import draw, example_sizes, plan_probes
from tests.verify import samples


def dims(**ranges: tuple[int, int | None]) -> dict[str, Dim]:
    return {name: Dim(name=name, min=low, max=high) for name, (low, high) in ranges.items()}


def spec(*shape: int | str, **changed: object) -> TensorSpec:
    return replace(TensorSpec(name="x", shape=shape, dtype="float32"), **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ranges", "shape", "sizes"),
    [
        ({"batch": (1, 16)}, ("batch", 3, 224), {"batch": 2}),
        ({"batch": (1, None), "sequence": (1, None)}, ("batch", "sequence"), {"batch": 2, "sequence": 3}),
        ({"batch": (1, 16)}, ("batch", 2, 3), {"batch": 4}),
        ({"height": (32, 64), "width": (32, 64)}, ("height", "width", 33), {"height": 32, "width": 34}),
        ({"batch": (0, 2)}, ("batch", 2), {"batch": 2}),
        ({"a": (1, 2), "b": (1, 2)}, ("a", "b"), {"a": 2, "b": 2}),
    ],
)
def test_the_example_has_sizes_that_cannot_be_mistaken_for_others(
    ranges: Mapping[str, tuple[int, int | None]], shape: tuple[int | str, ...], sizes: Mapping[str, int]
) -> None:
    assert example_sizes(dims(**ranges), [spec(*shape)]) == sizes


LEVELS = {
    VerifyLevel.QUICK: [{"batch": 2, "width": 3}, {"batch": 1, "width": 3}, {"batch": 2, "width": 1}],
    VerifyLevel.STANDARD: [*({"batch": b, "width": w} for b, w in ((2, 3), (1, 3), (2, 1), (5, 7)))],
    VerifyLevel.STRICT: [*({"batch": b, "width": w} for b, w in ((2, 3), (1, 3), (2, 1), (5, 7), (16, 3), (2, 17)))],
}


@pytest.mark.parametrize("level", LEVELS)
def test_the_level_chooses_the_sizes(level: VerifyLevel) -> None:
    assert [dict(probe.sizes) for probe in plan_probes(samples.PAIR, level, 0)] == LEVELS[level]


def test_a_minimum_of_zero_is_tried_and_one_as_well() -> None:
    model = replace(samples.PAIR, dims=dims(batch=(0, 4), width=(1, None)))
    sizes = [probe.sizes["batch"] for probe in plan_probes(model, VerifyLevel.QUICK, 0)]
    assert {0, 1} <= set(sizes)


def test_a_range_of_two_sizes_gives_both() -> None:
    model = replace(samples.PAIR, dims=dims(batch=(4, 5), width=(3, 3)), inputs=(spec("batch", "width"),))
    sizes = {tuple(probe.sizes.items()) for probe in plan_probes(model, VerifyLevel.STANDARD, 0)}
    assert sizes == {(("batch", 4), ("width", 3)), (("batch", 5), ("width", 3))}


def test_a_model_without_dynamic_dimensions_gets_other_values() -> None:
    model = replace(samples.PAIR, dims={}, inputs=(spec(4),))
    example, other = plan_probes(model, VerifyLevel.STANDARD, 0)
    assert (example.sizes, other.sizes) == ({}, {})
    assert example.seed != other.seed


def test_every_case_is_a_probe_of_the_examples_sizes() -> None:
    quiet = (replace(samples.PAIR.inputs[0], generator="uniform", range=(0.0, 0.0)), samples.PAIR.inputs[1])
    probes = plan_probes(replace(samples.PAIR, cases=(CaseSpec(name="quiet", inputs=quiet),)), VerifyLevel.QUICK, 0)
    (case,) = (probe for probe in probes if probe.kind == "case")
    assert (case.name, case.sizes) == ("case quiet", probes[0].sizes)
    assert draw(case.specs, case.sizes, case.seed, "float32")["left"].eq(0).all()


def test_probes_of_one_name_exist_once_and_say_what_differs_from_the_example() -> None:
    names = [probe.name for probe in plan_probes(samples.PAIR, VerifyLevel.STRICT, 0)]
    assert names == ["example", "batch=1", "width=1", "batch=5 width=7", "batch=16", "width=17"]


@pytest.mark.parametrize(
    ("dtype", "changed", "low", "high"),
    [
        ("float32", {"generator": "uniform", "range": (-2.5, 2.5)}, -2.5, 2.5),
        ("int64", {"generator": "uniform", "range": (3, 7)}, 3, 6),
        ("int64", {"generator": "uniform", "range": (5, 5)}, 5, 5),
        ("bool", {"generator": "uniform"}, 0, 1),
        ("bool", {"generator": "uniform", "range": (0, 2)}, 0, 1),
        ("int64", {"generator": "mask"}, 0, 1),
    ],
)
def test_values_have_the_declared_dtype_and_stay_in_range(
    dtype: str, changed: dict[str, object], low: float, high: float
) -> None:
    values = draw([spec("batch", 50, dtype=dtype, **changed)], {"batch": 4}, 0, "float32")["x"]
    assert values.dtype is getattr(torch, dtype)
    assert values.shape == (4, 50)
    assert low <= values.min().item()
    assert values.max().item() <= high
    assert low == high or len(values.unique()) > 1


def test_floating_inputs_have_the_cells_dtype_and_others_their_own() -> None:
    specs = [spec("batch", 4), replace(spec("batch", dtype="int64", generator="uniform", range=(0, 9)), name="ids")]
    values = draw(specs, {"batch": 2}, 0, "float16")
    assert (values["x"].dtype, values["ids"].dtype) == (torch.float16, torch.int64)


def test_a_mask_is_a_prefix_of_ones_never_empty_and_not_always_full() -> None:
    mask = draw([spec("batch", 6, dtype="int64", generator="mask")], {"batch": 40}, 0, "float32")["x"]
    assert (mask.diff(dim=1) <= 0).all()
    assert mask[:, 0].eq(1).all()
    assert mask[:, -1].eq(0).all()
    single = draw([spec("batch", 1, dtype="bool", generator="mask")], {"batch": 3}, 0, "float32")["x"]
    assert single.all()


def test_the_same_seed_draws_the_same_values_and_another_seed_others() -> None:
    first, again, other = (draw(samples.PAIR.inputs, {"batch": 2, "width": 3}, seed, "float32")["left"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
