from __future__ import annotations

from dataclasses import replace

import torch

from exporters.base import Dim, TensorSpec
from orchestrator.verify.edges import Edge, edges
from tests.verify import samples

ROWS = TensorSpec(name="rows", shape=("batch", 4), dtype="float32", generator="uniform", range=(2, 3))
TOKENS = TensorSpec(name="tokens", shape=("batch", "length"), dtype="int64", generator="uniform", range=(3, 9))
MASK = TensorSpec(name="mask", shape=("batch", "length"), dtype="int64", generator="mask")
DIMS = {name: Dim(name=name, min=1, max=8) for name in ("batch", "length")}


def found(*specs: TensorSpec, dtype: str = "float32") -> dict[str, Edge]:
    used = {size for spec in specs for size in spec.shape}
    model = replace(samples.PAIR, inputs=specs, dims={name: dim for name, dim in DIMS.items() if name in used})
    return {edge.name: edge for edge in edges(model, 0, dtype)}


def test_floating_inputs_become_large_tiny_nearly_constant_and_not_finite() -> None:
    rows = {name: edge.inputs["rows"] for name, edge in found(ROWS).items()}
    assert list(rows) == ["large values", "tiny values", "nearly constant values", "NaN and Inf"]
    assert 2e4 <= rows["large values"].min() <= rows["large values"].max() < 3e4
    assert 2e-4 <= rows["tiny values"].min() <= rows["tiny values"].max() < 3e-4
    assert 0 < rows["nearly constant values"].var() < 1e-8
    assert len({len(rows[name]) for name in ("large values", "tiny values", "nearly constant values")} | {1}) == 1


def test_each_kind_that_is_not_finite_has_a_row_of_its_own() -> None:
    edge = found(ROWS)["NaN and Inf"]
    values = edge.inputs["rows"]
    assert not edge.finite
    assert [int(row.isnan().sum()) for row in values] == [1, 0, 0]
    assert [int(row.isposinf().sum()) for row in values] == [0, 1, 0]
    assert [int(row.isneginf().sum()) for row in values] == [0, 0, 1]


def test_integers_are_at_the_ends_of_their_range_and_masks_stay() -> None:
    given = found(TOKENS, MASK)
    assert list(given) == ["smallest integers", "largest integers"]
    assert set(given["smallest integers"].inputs["tokens"].flatten().tolist()) == {3}
    assert set(given["largest integers"].inputs["tokens"].flatten().tolist()) == {8}
    assert torch.equal(given["smallest integers"].inputs["mask"], given["largest integers"].inputs["mask"])


def test_half_precision_is_not_asked_for_more_than_it_can_hold() -> None:
    half = found(replace(ROWS, generator="normal", range=None), dtype="float16")
    assert all(half[name].inputs["rows"].isfinite().all() for name in ("large values", "nearly constant values"))
    assert half["nearly constant values"].inputs["rows"].unique().numel() > 1
    assert half["tiny values"].inputs["rows"].any()


def test_an_input_without_ends_or_floats_has_no_edges() -> None:
    assert found(MASK) == {}
