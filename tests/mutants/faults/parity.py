"""Faults in an operator: another attribute, another index, another kind of rounding, a mask that is not heeded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx_ir as ir

from tests.mutants.faults.extremes import replace_node
from tests.mutants.faults.interface import replace_output
from tests.mutants.work import Fault, Place, Work, constant_of, insert_after

CHECK = "parity"


def _pads(work: Work) -> Iterator[Place]:
    """One row or column more on one side, one less on the other."""
    for node in work.nodes("Conv", "AveragePool", "MaxPool"):
        pads = list(node.attributes.get_ints("pads", []))
        for axis in range(len(pads) // 2):
            if pads[axis] > 0:
                moved = list(pads)
                moved[axis] -= 1
                moved[axis + len(pads) // 2] += 1
                yield Place(where=f"{node.name} {moved}", damage=partial(node.attributes.add, ir.AttrInt64s("pads", moved)))


def _softmax_axes(work: Work) -> Iterator[Place]:
    for node in work.nodes("Softmax"):
        axis, shape = node.attributes.get_int("axis", -1), node.outputs[0].shape
        rank = 2 if shape is None else len(shape)
        for other in {-1, -2} - {axis if axis < 0 else axis - rank}:
            yield Place(where=f"{node.name} {other}", damage=partial(node.attributes.add, ir.AttrInt64("axis", other)))


def _resizes(work: Work) -> Iterator[Place]:
    for node in work.nodes("Resize"):
        for name, values in {
            "mode": ("nearest", "cubic"),
            "coordinate_transformation_mode": ("asymmetric", "align_corners"),
        }.items():
            for value in values:
                yield Place(where=f"{node.name} {value}", damage=partial(node.attributes.add, ir.AttrString(name, value)))


def _counted(work: Work) -> Iterator[Place]:
    for node in work.nodes("AveragePool"):
        if any(node.attributes.get_ints("pads", [])):
            counted = 1 - node.attributes.get_int("count_include_pad", 0)
            yield Place(where=str(node.name), damage=partial(node.attributes.add, ir.AttrInt64("count_include_pad", counted)))


def _dilations(work: Work) -> Iterator[Place]:
    """One more, with as much padding as keeps the shape."""
    for node in work.nodes("Conv"):
        kernel = constant_of(node.inputs[1])
        sizes = () if kernel is None else kernel.shape[2:]
        if sizes and min(sizes) >= 3 and all(size % 2 for size in sizes):
            yield Place(where=str(node.name), damage=partial(_dilate, node, sizes))


def _dilate(node: ir.Node, sizes: tuple[int, ...]) -> None:
    dilations = [value + 1 for value in node.attributes.get_ints("dilations", [1] * len(sizes))]
    pads = list(node.attributes.get_ints("pads", [0] * 2 * len(sizes)))
    more = [size // 2 for size in sizes] * 2
    node.attributes.add(ir.AttrInt64s("dilations", dilations))
    node.attributes.add(ir.AttrInt64s("pads", [pad + extra for pad, extra in zip(pads, more, strict=True)]))


def _gelus(work: Work) -> Iterator[Place]:
    for node in work.nodes("Gelu"):
        yield Place(where=str(node.name), damage=partial(node.attributes.add, ir.AttrString("approximate", "tanh")))
    for node in work.nodes("Erf"):
        yield Place(where=str(node.name), damage=partial(_tanh_for_erf, work, node))


def _tanh_for_erf(work: Work, node: ir.Node) -> None:
    """erf(y) by tanh(2 / sqrt(pi) * (y + 0.08943 y ** 3)), which is GELU's approximation after y = x / sqrt(2)."""
    cubic, outer = (work.initializer(name, np.array(value, np.float32)) for name, value in _TANH.items())
    value = node.inputs[0]
    square = ir.node("Mul", [value, value])
    cube = ir.node("Mul", [square.outputs[0], value])
    small = ir.node("Mul", [cube.outputs[0], cubic])
    total = ir.node("Add", [value, small.outputs[0]])
    scaled = ir.node("Mul", [total.outputs[0], outer])
    replace_node(node, square, cube, small, total, scaled, ir.node("Tanh", [scaled.outputs[0]]))


_TANH = {"gelu_cubic": 2 * 0.044715, "gelu_outer": 2 / math.sqrt(math.pi)}


def _slopes(work: Work) -> Iterator[Place]:
    for node in work.nodes("LeakyRelu"):
        raised = 1.1 * node.attributes.get_float("alpha", 0.01)
        yield Place(where=str(node.name), damage=partial(node.attributes.add, ir.AttrFloat32("alpha", raised)))


def _clamped(work: Work) -> Iterator[Place]:
    for node in work.nodes("Gather"):
        index = constant_of(node.inputs[1])
        if index is not None and (index < 0).any():
            yield Place(where=str(node.name), damage=partial(_clamp, work, node, index))


def _clamp(work: Work, node: ir.Node, index: np.ndarray) -> None:
    node.replace_input_with(1, work.initializer("clamped_index", np.maximum(index, 0)))


def _truncated(work: Work) -> Iterator[Place]:
    for node in work.nodes("Floor"):
        yield Place(where=str(node.name), damage=partial(_to_zero, node))
    for node in work.nodes("Where"):
        corrected, plain = node.inputs[1], node.inputs[2]
        producer = None if corrected is None else corrected.producer()
        if producer is not None and producer.op_type == "Sub" and producer.inputs[0] is plain:
            yield Place(where=str(node.name), damage=partial(_uncorrected, node, plain))


def _to_zero(node: ir.Node) -> None:
    size, sign = ir.node("Abs", [node.inputs[0]]), ir.node("Sign", [node.inputs[0]])
    low = ir.node("Floor", [size.outputs[0]])
    replace_node(node, size, sign, low, ir.node("Mul", [low.outputs[0], sign.outputs[0]]))


def _uncorrected(node: ir.Node, plain: ir.Value | None) -> None:
    """Keeps the quotient without the step down that makes it a floor."""
    replace_node(node, ir.node("Identity", [plain]))


def _ignored(work: Work) -> Iterator[Place]:
    """A mask of ones, whatever is given."""
    for value in _masks(work):
        yield Place(where=str(value.name), damage=partial(_of_mask, work, value, "Sub", "Add"))


def _inverted(work: Work) -> Iterator[Place]:
    for value in _masks(work):
        yield Place(where=str(value.name), damage=partial(_of_mask, work, value, "Sub", None))
    for node in work.nodes("Where"):
        if node.inputs[0] is not None and node.inputs[0].producer() is not None and work.nodes("Softmax"):
            yield Place(where=str(node.name), damage=partial(_not, node))


def _masks(work: Work) -> list[ir.Value]:
    names = [spec.name for spec in work.candidate.model.inputs if spec.generator == "mask"]
    return [value for value in work.model.graph.inputs if value.name in names]


def _of_mask(work: Work, value: ir.Value, first: str, second: str | None) -> None:
    """1 - mask; or mask - mask + 1."""
    uses, one = list(value.uses()), work.initializer("mask_one", np.array(1))
    nodes = [ir.node(first, [value, value] if second else [one, value])]
    if second:
        nodes.append(ir.node(second, [nodes[0].outputs[0], one]))
    work.model.graph.insert_before(work.model.graph[0], nodes)
    for node, index in uses:
        node.replace_input_with(index, nodes[-1].outputs[0])


def _not(node: ir.Node) -> None:
    inverse = ir.node("Not", [node.inputs[0]])
    assert node.graph is not None
    node.graph.insert_before(node, inverse)
    node.replace_input_with(0, inverse.outputs[0])


def _crossed(work: Work) -> Iterator[Place]:
    """Two outputs of one type in each other's place, under names that are in order."""
    outputs = work.model.graph.outputs
    for one in range(len(outputs)):
        for other in range(one):
            if outputs[one].dtype == outputs[other].dtype and outputs[one].shape == outputs[other].shape:
                yield Place(where=f"{outputs[other].name} and {outputs[one].name}", damage=partial(_cross, work, one, other))


def _cross(work: Work, one: int, other: int) -> None:
    first, second = work.model.graph.outputs[one], work.model.graph.outputs[other]
    nodes = [ir.node("Identity", [second]), ir.node("Identity", [first])]
    for node, value in zip(nodes, (first, second), strict=True):
        node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
    replace_output(work, one, nodes[0])
    replace_output(work, other, nodes[1])


def _shifted(work: Work) -> Iterator[Place]:
    """A little is added to what some node computes."""
    for number, node in enumerate(work.model.graph):
        computes = node.op_type in {"Conv", "Gemm", "MatMul", "Tanh", "LayerNormalization"}
        if computes and not node.outputs[0].is_graph_output():
            yield Place(where=f"{node.op_type} {number}", damage=partial(_shift, work, node.outputs[0]))


def _shift(work: Work, value: ir.Value) -> None:
    insert_after(value, ir.node("Add", [value, work.initializer("shift", np.array(1e-3, np.float32))]))


FAULTS = tuple(
    Fault(name=name, check=CHECK, numeric=True, places=places)
    for name, places in {
        "pad off by one, same shape": _pads,
        "softmax over another axis": _softmax_axes,
        "resize mode": _resizes,
        "average pool counts its padding": _counted,
        "dilation, same shape": _dilations,
        "tanh GELU for erf GELU": _gelus,
        "leaky slope x 1.1": _slopes,
        "negative index clamped": _clamped,
        "division rounds to zero": _truncated,
        "mask ignored": _ignored,
        "mask inverted": _inverted,
        "outputs crossed under their names": _crossed,
        "0.001 added to a value": _shifted,
    }.items()
)
