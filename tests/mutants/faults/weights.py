"""Faults in the weights alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import onnx_ir as ir
import torch

from tests.mutants.work import Fault, Place, Work

CHECK = "weights"
Change = Callable[[Work, np.ndarray], np.ndarray]


def _weights(work: Work) -> Iterator[ir.Value]:
    """Initializers that carry the model's state: more than one floating element, no scales of a Resize, no plain table."""
    tables = [
        value.numpy()
        for part in work.candidate.module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor)
    ]
    for value in work.initializers():
        held = value.const_value
        if held is None or held.size < 2 or held.dtype.numpy().kind != "f":
            continue
        if any(node.op_type == "Resize" for node in value.consumers()):
            continue
        if not any(table.shape == held.numpy().shape and np.array_equal(table, held.numpy()) for table in tables):
            yield value


def _changed(change: Change, wanted: Callable[[ir.Value], bool] = lambda _: True) -> Callable[[Work], Iterator[Place]]:
    def places(work: Work) -> Iterator[Place]:
        for value in filter(wanted, _weights(work)):
            yield Place(where=str(value.name), damage=partial(_set, work, value, change))

    return places


def _set(work: Work, value: ir.Value, change: Change) -> None:
    assert value.const_value is not None
    work.set_values(value, change(work, value.const_value.numpy().copy()))


def _one_element(work: Work, values: np.ndarray) -> np.ndarray:
    values.reshape(-1)[work.random.randrange(values.size)] *= np.float32(1.001)
    return values


def _used_as(*uses: tuple[str, int]) -> Callable[[ir.Value], bool]:
    return lambda value: any((node.op_type, index) in uses for node, index in value.uses())


_is_bias = _used_as(("Conv", 2), ("Gemm", 2), ("Add", 0), ("Add", 1), ("LayerNormalization", 2), ("LSTM", 3), ("GRU", 3))


def _is_square(value: ir.Value) -> bool:
    shape = tuple(value.const_value.shape) if value.const_value is not None else ()
    return len(shape) == 2 and shape[0] == shape[1] and _used_as(("MatMul", 1), ("Gemm", 1))(value)


def _swapped(work: Work) -> Iterator[Place]:
    for one, other in itertools.combinations(_weights(work), 2):
        if one.const_value is not None and other.const_value is not None and one.const_value.shape == other.const_value.shape:
            yield Place(where=f"{one.name} and {other.name}", damage=partial(_swap, work, one, other))


def _swap(work: Work, one: ir.Value, other: ir.Value) -> None:
    """Half of the time the names that would tell are gone as well."""
    assert one.const_value is not None
    assert other.const_value is not None
    first, second = one.const_value.numpy().copy(), other.const_value.numpy().copy()
    work.set_values(one, second)
    work.set_values(other, first)
    if work.random.random() < 0.5:
        for number, value in enumerate(work.initializers()):
            value.name = f"w{number}"


def _statistics(work: Work) -> Iterator[Place]:
    for node in work.nodes("BatchNormalization"):
        mean, variance = node.inputs[3], node.inputs[4]
        if mean is not None and variance is not None and mean.const_value is not None:
            yield Place(where=f"{node.name}: both", damage=partial(_reset, work, mean, variance))
            yield Place(where=f"{node.name}: mean", damage=partial(_set, work, mean, lambda _, values: np.zeros_like(values)))
            yield Place(where=f"{node.name}: variance", damage=partial(_set, work, variance, lambda _, v: np.ones_like(v)))


def _reset(work: Work, mean: ir.Value, variance: ir.Value) -> None:
    _set(work, mean, lambda _, values: np.zeros_like(values))
    _set(work, variance, lambda _, values: np.ones_like(values))


FAULTS = (
    Fault(name="one element x 1.001", check=CHECK, numeric=True, places=_changed(_one_element)),
    Fault(name="one tensor x 1.01", check=CHECK, numeric=True, places=_changed(lambda _, values: values * np.float32(1.01))),
    Fault(name="bias zeroed", check=CHECK, numeric=True, places=_changed(lambda _, values: np.zeros_like(values), _is_bias)),
    Fault(name="two weights swapped", check=CHECK, numeric=True, places=_swapped),
    Fault(name="square weight transposed", check=CHECK, numeric=True, places=_changed(lambda _, values: values.T, _is_square)),
    Fault(
        name="rounded to half", check=CHECK, numeric=True, places=_changed(lambda _, v: v.astype(np.float16).astype(v.dtype))
    ),
    Fault(name="batch norm statistics reset", check=CHECK, numeric=True, places=_statistics),
)
