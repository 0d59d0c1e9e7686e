"""What exporters make of weights before they write them: folded batch normalisation, and gates in ONNX's order.

Each is computed again from the state of the model, so that an artifact can be compared with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import torch

from orchestrator.verify.uses import Constant, Fold, Uses

ROUNDINGS: Mapping[str, int] = {"float16": 8, "bfloat16": 8}
"""By dtype, units in the last place that a value computed in another order may be off: in float16 x 1.01 is 10 of them."""
MANY_ROUNDINGS = 32
"""The same of other dtypes: x 1.001 is 8000 of them in float32."""
GATES: Mapping[str, tuple[int, ...]] = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""Order of torch's gates in ONNX: LSTM ifgo as iofc, GRU rzn as zrh."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A tensor that an artifact should hold."""

    values: np.ndarray
    allowed: np.ndarray | None
    """Difference of each element; None: no element differs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """Tensors that together carry others."""

    of: tuple[Constant, ...]
    parts: tuple[Part, ...]


def recipes(uses: Uses, wanted: Sequence[Constant]) -> Iterator[Recipe]:
    """What may carry some of the wanted tensors, which are not there as they are."""
    missing = {id(constant) for constant in wanted}
    for fold in uses.folds:
        if any(id(member) in missing for member in fold.members):
            yield from _folded(fold)
    for recipe in _recurrent(uses):
        if any(id(member) in missing for member in recipe.of):
            yield recipe


def allowed(values: np.ndarray, terms: np.ndarray | None = None) -> np.ndarray:
    """How far a recomputed tensor may be off, given the largest terms that were added up in it."""
    eps = float(ml_dtypes.finfo(values.dtype).eps)  # type: ignore[no-untyped-call]
    wide = np.float64 if values.dtype == np.float64 else np.float32
    roundings = ROUNDINGS.get(values.dtype.name, MANY_ROUNDINGS)
    return np.asarray(np.abs(values if terms is None else terms).astype(wide) * wide(roundings * eps))


def _folded(fold: Fold) -> Iterator[Recipe]:
    """Into the product before it, or into one multiplication and one addition."""
    if fold.mean is None or fold.variance is None:
        return
    dtype = fold.mean.values.dtype
    mean, variance = _wide(fold.mean), _wide(fold.variance)
    scale = (_wide(fold.scale) if fold.scale else 1.0) / np.sqrt(variance + fold.epsilon)
    shift = _wide(fold.shift) if fold.shift else np.zeros_like(mean)
    if fold.weight is not None:
        bias = _wide(fold.bias) if fold.bias else 0.0
        offset = (bias - mean) * scale
        weight = fold.weight.values
        factor = _along(scale, weight, fold.channel)
        if factor is not None:
            product = Part(values=weight * factor.astype(dtype), allowed=None)
            yield Recipe(of=fold.members, parts=(_close(product.values), _sum(shift, offset, bias * scale, dtype)))
    normaliser = tuple(part for part in fold.members if part not in (fold.weight, fold.bias))
    yield Recipe(of=normaliser, parts=(_close(scale.astype(dtype)), _sum(shift, -mean * scale, 0.0, dtype)))


def _close(values: np.ndarray) -> Part:
    return Part(values=values, allowed=allowed(values))


def _sum(shift: np.ndarray, offset: np.ndarray, term: np.ndarray | float, dtype: np.dtype) -> Part:
    total = (shift + offset).astype(dtype)
    terms = np.maximum(np.maximum(np.abs(shift), np.abs(offset)), np.abs(term)).astype(dtype)
    return Part(values=total, allowed=allowed(total, terms))


def _along(scale: np.ndarray, weight: np.ndarray, channel: int) -> np.ndarray | None:
    """The scale in a shape that multiplies the output channels; grouped transposed convolutions have them in two axes."""
    if weight.shape[channel] == scale.size:
        return scale.reshape([-1 if axis == channel else 1 for axis in range(weight.ndim)])
    if channel == 1 and scale.size % weight.shape[1] == 0:
        groups = scale.size // weight.shape[1]
        rows = np.repeat(scale.reshape(groups, weight.shape[1]), weight.shape[0] // groups, axis=0)
        return rows.reshape([*rows.shape, *[1] * (weight.ndim - 2)])
    return None


def _recurrent(uses: Uses) -> Iterator[Recipe]:
    by_name = {name: constant for constant in uses.constants for name in constant.aliases}
    for path, module in uses.module.named_modules():
        if isinstance(module, torch.nn.RNNBase):
            for layer in range(module.num_layers):
                prefixes = [f"_l{layer}{reverse}" for reverse in ("", "_reverse")[: 1 + module.bidirectional]]
                yield from _layer(f"{path}." if path else "", prefixes, GATES.get(module.mode, (0,)), by_name)


def _layer(path: str, suffixes: Sequence[str], order: Sequence[int], by_name: Mapping[str, Constant]) -> Iterator[Recipe]:
    """One layer's W, R and B, with both directions stacked and each alone."""
    for chosen in dict.fromkeys([tuple(suffixes), *((suffix,) for suffix in suffixes)]):
        for kinds in (["weight_ih"], ["weight_hh"], ["bias_ih", "bias_hh"], ["bias_ih"], ["bias_hh"]):
            members = [by_name.get(f"{path}{kind}{suffix}") for suffix, kind in itertools.product(chosen, kinds)]
            if all(members):
                present = tuple(member for member in members if member is not None)
                stacked = np.concatenate([_ordered(member.values, order) for member in present])
                yield Recipe(of=present, parts=(Part(values=stacked, allowed=None),))


def _ordered(values: np.ndarray, order: Sequence[int]) -> np.ndarray:
    gates = np.split(values, len(order))
    return np.concatenate([gates[place] for place in order])


def _wide(constant: Constant) -> np.ndarray:
    return constant.values.astype(np.float64)
