"""Faults in what an artifact says that it takes and gives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import onnx_ir as ir

from tests.mutants.work import Fault, Place, Work

CHECK = "interface"


def _dropped(work: Work) -> Iterator[Place]:
    outputs = work.model.graph.outputs
    for index in range(len(outputs) if len(outputs) > 1 else 0):
        yield Place(where=str(outputs[index].name), damage=partial(outputs.pop, index))


def _out_of_order(values: Callable[[Work], list[ir.Value]]) -> Callable[[Work], Iterator[Place]]:
    def places(work: Work) -> Iterator[Place]:
        for one, other in itertools.combinations(range(len(values(work))), 2):
            listed = values(work)
            yield Place(where=f"{listed[one].name} and {listed[other].name}", damage=partial(_exchange, listed, one, other))

    return places


def _exchange(values: list[ir.Value], one: int, other: int) -> None:
    first, second = values[one], values[other]
    order = list(values)
    order[one], order[other] = second, first
    values[:] = order


def _renamed(work: Work) -> Iterator[Place]:
    for value in work.model.graph.inputs:
        yield Place(where=str(value.name), damage=partial(setattr, value, "name", f"{value.name}_1"))


def replace_output(work: Work, index: int, *nodes: ir.Node) -> None:
    """Put a chain of nodes between an output and what computes it; the output keeps its name."""
    graph = work.model.graph
    old, new = graph.outputs[index], nodes[-1].outputs[0]
    name, old.name = old.name, f"{old.name}_inner"
    graph.extend(nodes)
    new.name = name
    graph.outputs[index] = new


def _narrowed(work: Work) -> Iterator[Place]:
    narrower = {ir.DataType.DOUBLE: ir.DataType.FLOAT, ir.DataType.INT64: ir.DataType.INT32}
    for index, value in enumerate(work.model.graph.outputs):
        if value.dtype in narrower:
            yield Place(where=str(value.name), damage=partial(_cast, work, index, narrower[value.dtype]))


def _cast(work: Work, index: int, dtype: ir.DataType) -> None:
    old = work.model.graph.outputs[index]
    node = ir.node("Cast", [old], {"to": dtype.value})
    node.outputs[0].type, node.outputs[0].shape = ir.TensorType(dtype), old.shape
    replace_output(work, index, node)


def _one_more_axis(work: Work) -> Iterator[Place]:
    for index, value in enumerate(work.model.graph.outputs):
        yield Place(where=str(value.name), damage=partial(_unsqueeze, work, index))


def _unsqueeze(work: Work, index: int) -> None:
    old = work.model.graph.outputs[index]
    node = ir.node("Unsqueeze", [old, work.initializer("added_axis", np.array([-1]))])
    node.outputs[0].type = old.type
    node.outputs[0].shape = None if old.shape is None else ir.Shape([*old.shape, 1])
    replace_output(work, index, node)


def _symbols(work: Work) -> list[str]:
    names = [size.value for value in work.model.graph.inputs for size in value.shape or () if isinstance(size, ir.SymbolicDim)]
    return list(dict.fromkeys(name for name in names if name))


def _rename_dimension(work: Work, old: str, new: int | str) -> None:
    for value in (*work.model.graph.inputs, *work.model.graph.outputs):
        if value.shape is not None:
            sizes = [size if isinstance(size, int) else size.value for size in value.shape]
            value.shape = ir.Shape([new if size == old else size for size in sizes])


def _baked(work: Work) -> Iterator[Place]:
    sizes = work.candidate.reference.example.sizes
    for name in _symbols(work):
        yield Place(where=name, damage=partial(_rename_dimension, work, name, sizes[name]))


def _made_equal(work: Work) -> Iterator[Place]:
    for kept, lost in itertools.permutations(_symbols(work), 2):
        yield Place(where=f"{lost} becomes {kept}", damage=partial(_rename_dimension, work, lost, kept))


def _also_inputs(work: Work) -> Iterator[Place]:
    for value in work.model.graph.initializers.values():
        yield Place(where=str(value.name), damage=partial(_to_input, work, value))


def _to_input(work: Work, value: ir.Value) -> None:
    assert value.const_value is not None
    value.type, value.shape = ir.TensorType(value.const_value.dtype), ir.Shape(value.const_value.shape)
    work.model.graph.inputs.append(value)


FAULTS = (
    Fault(name="output dropped", check=CHECK, places=_dropped),
    Fault(name="outputs out of order", check=CHECK, places=_out_of_order(lambda work: work.model.graph.outputs)),
    Fault(name="input renamed", check=CHECK, places=_renamed),
    Fault(name="inputs out of order", check=CHECK, places=_out_of_order(lambda work: work.model.graph.inputs)),
    Fault(name="output of a narrower type", check=CHECK, places=_narrowed),
    Fault(name="output with one more axis", check=CHECK, places=_one_more_axis),
    Fault(name="dimension baked in", check=CHECK, places=_baked),
    Fault(name="two symbols made equal", check=CHECK, places=_made_equal),
    Fault(name="initializer also an input", check=CHECK, places=_also_inputs),
)
