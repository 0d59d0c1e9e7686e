"""ONNX Runtime 1.31: its basic optimisations put a Pad of zeros into the MaxPool after it, whose own padding is minus infinity.

The file is right, and without optimisations so is the answer. Where all values of a window are negative, 0 becomes one of them.
Found on hgnetv2_b0 of timm.
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper


def model() -> onnx.ModelProto:
    """One row and one column of zeros, then the largest of each 2 x 2."""
    image = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 2, 2]) for name in ("x", "y")]
    pads = helper.make_tensor("pads", TensorProto.INT64, [8], [0, 0, 0, 0, 0, 0, 1, 1])
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["padded"]),
        helper.make_node("MaxPool", ["padded"], ["y"], kernel_shape=[2, 2]),
    ]
    graph = helper.make_graph(nodes, "padded_max_pool", image[:1], image[1:], [pads])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


if __name__ == "__main__":
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        session = onnxruntime.InferenceSession(model().SerializeToString(), options)
        answer = session.run(None, {"x": np.full((1, 1, 2, 2), -1, np.float32)})[0]
        sys.stdout.write(f"{level} {answer.ravel()}\n")
