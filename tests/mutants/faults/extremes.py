"""Faults that only show at the edges of what a model may be given."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx_ir as ir

from tests.mutants.work import Fault, Place, Work

CHECK = "extremes"


def replace_node(node: ir.Node, *nodes: ir.Node) -> None:
    """Put a chain of nodes in the place of one; the last one's answer takes over its name and uses."""
    graph = node.graph
    assert graph is not None
    old, new = node.outputs[0], nodes[-1].outputs[0]
    new.type, new.shape = old.type, old.shape
    graph.insert_before(node, nodes)
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    name, old.name = old.name, None
    new.name = name
    graph.remove(node)


def _epsilons(work: Work) -> Iterator[Place]:
    for node in work.nodes("LayerNormalization", "BatchNormalization", "InstanceNormalization", "GroupNormalization"):
        raised = 100 * max(node.attributes.get_float("epsilon", 1e-5), 1e-5)
        yield Place(where=str(node.name), damage=partial(node.attributes.add, ir.AttrFloat32("epsilon", raised)))


def _softmaxes(work: Work) -> Iterator[Place]:
    for node in work.nodes("Softmax"):
        yield Place(where=str(node.name), damage=partial(_unstable, work, node))


def _unstable(work: Work, node: ir.Node) -> None:
    axis = work.initializer("softmax_axis", np.array([node.attributes.get_int("axis", -1)]))
    powers = ir.node("Exp", [node.inputs[0]])
    total = ir.node("ReduceSum", [powers.outputs[0], axis], {"keepdims": 1})
    replace_node(node, powers, total, ir.node("Div", [powers.outputs[0], total.outputs[0]]))


def _clamps(work: Work) -> Iterator[Place]:
    for node in work.nodes("Relu"):
        yield Place(where=str(node.name), damage=partial(_drops_nan, work, node, 0.0, "Greater"))
    for node in work.nodes("Clip"):
        for index, compare in ((1, "Greater"), (2, "Less")):
            bound = node.inputs[index] if len(node.inputs) > index else None
            if bound is not None:
                yield Place(where=f"{node.name} {compare}", damage=partial(_clip_drops_nan, node, bound, compare))


def _drops_nan(work: Work, node: ir.Node, bound: float, compare: str) -> None:
    limit = work.initializer("clamp_limit", np.array(bound, np.float32))
    _clip_drops_nan(node, limit, compare, alone=True)


def _clip_drops_nan(node: ir.Node, bound: ir.Value, compare: str, *, alone: bool = False) -> None:
    """A comparison with NaN is false, so that the limit is chosen."""
    value = node.inputs[0]
    chain: list[ir.Node] = []
    if not alone:
        chain.append(ir.node("Clip", list(node.inputs)))
    within = ir.node(compare, [value, bound])
    other = chain[-1].outputs[0] if chain else value
    replace_node(node, *chain, within, ir.node("Where", [within.outputs[0], other, bound]))


FAULTS = (
    Fault(name="epsilon 1e-5 to 1e-3", check=CHECK, numeric=True, places=_epsilons),
    Fault(name="unstable softmax", check=CHECK, numeric=True, places=_softmaxes),
    Fault(name="clamp that drops NaN", check=CHECK, numeric=True, places=_clamps),
)
