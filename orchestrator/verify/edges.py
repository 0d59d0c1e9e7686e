"""Inputs at the edges of what a model may be given: large, tiny, nearly constant, not finite, and the ends of integer ranges.

They are small: one row where the model takes a batch. Masks and booleans stay as they are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from orchestrator.spec import ModelSpec
from orchestrator.verify.probes import draw, example_sizes

LARGE = 1e4
"""Factor on drawn values: enough to overflow an exponential, not float32."""
LARGE_HALF = 1e2
"""The same for float16, whose largest value is 65504."""
TINY = 1e-4
"""Factor on drawn values."""
NOISE = 1e-4
"""On a constant of 1: its variance of 1e-8 is far below the epsilon of any normalisation. Or 4 ulp."""
NOT_FINITE = (float("nan"), float("inf"), float("-inf"))
"""One in the middle of each of the first rows."""


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One set of inputs."""

    name: str
    sizes: Mapping[str, int]
    inputs: Mapping[str, torch.Tensor]
    finite: bool


def edges(model: ModelSpec, seed: int, dtype: str) -> Iterator[Edge]:
    """The edges that the model's inputs have.

    Args:
        model: Its declaration.
        seed: Of the values that are changed.
        dtype: Of floating inputs.
    """
    torch_dtype: torch.dtype = getattr(torch, dtype)
    large = LARGE_HALF if torch_dtype is torch.float16 else LARGE
    noise = max(NOISE, 4 * torch.finfo(torch_dtype).eps)
    floating = any(getattr(torch, spec.dtype).is_floating_point for spec in model.inputs)
    small = _sizes(model, 1)
    drawn = draw(model.inputs, small, seed, dtype)
    if floating:
        yield _edge("large values", small, _floats(drawn, lambda values: values * large))
        yield _edge("tiny values", small, _floats(drawn, lambda values: values * TINY))
        yield _edge("nearly constant values", small, _floats(drawn, lambda values: 1 + noise * _spread(values)))
        rows = _sizes(model, len(NOT_FINITE))
        values = _floats(draw(model.inputs, rows, seed, dtype), _not_finite)
        yield Edge(name="NaN and Inf", sizes=rows, inputs=values, finite=False)
    ranges = {
        spec.name: (int(spec.range[0]), max(int(spec.range[1]) - 1, int(spec.range[0])))
        for spec in model.inputs
        if spec.range and not getattr(torch, spec.dtype).is_floating_point and spec.dtype != "bool"
    }
    if ranges:
        for end, name in enumerate(("smallest integers", "largest integers")):
            filled = {key: torch.full_like(drawn[key], ends[end]) for key, ends in ranges.items()}
            yield _edge(name, small, {**drawn, **filled})


def _edge(name: str, sizes: Mapping[str, int], inputs: Mapping[str, torch.Tensor]) -> Edge:
    return Edge(name=name, sizes=sizes, inputs=inputs, finite=True)


def _sizes(model: ModelSpec, rows: int) -> dict[str, int]:
    """The example's, with so many rows where a dimension is the first of every input that has it and of nothing else."""
    sizes = example_sizes(model.dims, model.inputs)
    for name, dim in model.dims.items():
        axes = {axis for spec in model.inputs for axis, size in enumerate(spec.shape) if size == name}
        if axes == {0}:
            sizes[name] = min(max(rows, dim.min), dim.max or rows)
    return sizes


def _floats(inputs: Mapping[str, torch.Tensor], change: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: change(values) if values.is_floating_point() else values for name, values in inputs.items()}


def _spread(values: torch.Tensor) -> torch.Tensor:
    """To at most 1, whatever range they were drawn from."""
    return values / values.abs().max().clamp(min=torch.finfo(values.dtype).tiny)


def _not_finite(values: torch.Tensor) -> torch.Tensor:
    """Changes the middle of each row; of a single row it changes three places."""
    changed = values.clone()
    if changed.ndim == 0:
        return torch.full_like(changed, NOT_FINITE[0])
    rows = changed.reshape(changed.shape[0], -1)
    for number, value in enumerate(NOT_FINITE):
        if number < rows.shape[0]:
            rows[number, rows.shape[1] // 2] = value
    return rows.reshape(values.shape)
