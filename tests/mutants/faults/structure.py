"""Faults that make a file invalid, or another file than was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import onnx
import onnx_ir as ir

from tests.mutants.work import Fault, Place, Work, insert_after

CHECK = "structure"


def _missing(work: Work) -> Iterator[Place]:
    for graph in work.model.graphs():
        for name in graph.initializers:
            yield Place(where=name, damage=partial(graph.initializers.pop, name))


def _other_opset(work: Work) -> Iterator[Place]:
    for opset in range(work.candidate.opset + 1, work.candidate.opset + 5):
        yield Place(where=str(opset), damage=partial(work.model.opset_imports.__setitem__, "", opset))


def _everywhere(damage: Callable[[Work, ir.Node], None]) -> Callable[[Work], Iterator[Place]]:
    def places(work: Work) -> Iterator[Place]:
        for number, node in enumerate(work.model.graph):
            yield Place(where=f"{node.op_type} {number}", damage=partial(damage, work, node))

    return places


def _domain(work: Work, node: ir.Node) -> None:
    node.domain = "com.example"
    work.model.opset_imports["com.example"] = 1


def _training_norm(work: Work) -> Iterator[Place]:
    for node in work.nodes("BatchNormalization"):
        yield Place(where=str(node.name), damage=partial(_train, node))


def _train(node: ir.Node) -> None:
    node.attributes.add(ir.AttrInt64("training_mode", 1))
    node.resize_outputs(3)
    for number, value in enumerate(node.outputs[1:]):
        value.name = f"{node.name}_statistics_{number}"


def _floating(damage: Callable[[Work, ir.Value], None]) -> Callable[[Work], Iterator[Place]]:
    """Behind every node that certainly computes floating values."""

    def places(work: Work) -> Iterator[Place]:
        kinds = {"Conv", "Gemm", "MatMul", "Relu", "Tanh", "Softmax", "LayerNormalization", "Gelu", "LSTM", "GRU"}
        for number, node in enumerate(work.model.graph):
            if node.op_type in kinds and not node.outputs[0].is_graph_output():
                yield Place(where=f"{node.op_type} {number}", damage=partial(damage, work, node.outputs[0]))

    return places


def _drop(work: Work, value: ir.Value) -> None:
    ratio = work.initializer("drop_ratio", np.array(0.1, np.float32))
    mode = work.initializer("drop_mode", np.array(True))
    insert_after(value, ir.node("Dropout", [value, ratio, mode]))


def _noise(_: Work, value: ir.Value) -> None:
    noise = ir.node("RandomNormalLike", [value], {"scale": 1e-9})
    insert_after(value, noise, ir.node("Add", [value, noise.outputs[0]]))


def _newer(work: Work) -> Iterator[Place]:
    for version in range(onnx.IR_VERSION + 1, onnx.IR_VERSION + 4):
        yield Place(where=str(version), damage=partial(setattr, work.model, "ir_version", version))


FAULTS = (
    Fault(name="initializer missing", check=CHECK, places=_missing),
    Fault(name="opset number raised", check=CHECK, places=_other_opset),
    Fault(name="unknown domain", check=CHECK, places=_everywhere(_domain)),
    Fault(name="batch norm in training mode", check=CHECK, places=_training_norm),
    Fault(name="dropout in training mode", check=CHECK, places=_floating(_drop)),
    Fault(name="random operator", check=CHECK, places=_floating(_noise)),
    Fault(name="IR version too new", check=CHECK, places=_newer),
)
