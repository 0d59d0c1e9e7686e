"""Small graphs made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from exporters.weights import LARGE

FLOATS = LARGE // 4
"""Elements of float32 from which on a tensor is large."""


def model(
    nodes: Sequence[onnx.NodeProto], weights: Sequence[onnx.TensorProto] = (), kind: int = TensorProto.FLOAT, opset: int = 20
) -> ir.Model:
    """One input `x` and one output `y` of one dynamic axis."""
    ends = [helper.make_tensor_value_info(name, kind, ["n"]) for name in ("x", "y")]
    proto = helper.make_graph(list(nodes), "g", ends[:1], ends[1:], initializer=list(weights))
    return ir.from_proto(helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=10))


def weight(name: str, *elements: float, size: int = FLOATS, dtype: str = "float32") -> onnx.TensorProto:
    return numpy_helper.from_array(np.resize(np.array(elements, dtype), size), name)


def total(*names: str) -> list[onnx.NodeProto]:
    return [helper.make_node("Sum", ["x", *names], ["y"], name="sum")]


def run(path: Path, size: int = FLOATS) -> np.ndarray:
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.zeros(size, np.float32)})[0]


def branching() -> ir.Model:
    """Each branch has a constant of its own, of one name, as ONNX allows."""
    branches = {}
    for branch, element in (("then_branch", 1), ("else_branch", 2)):
        constant = helper.make_node("Constant", [], ["c"], value=weight("c", element))
        answer = helper.make_tensor_value_info(branch, TensorProto.FLOAT, ["n"])
        branches[branch] = helper.make_graph([constant, helper.make_node("Sum", ["x", "c"], [branch])], branch, [], [answer])
    return model(
        [
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Cast", ["sum"], ["loud"], to=TensorProto.BOOL),
            helper.make_node("If", ["loud"], ["y"], **branches),
        ]
    )
