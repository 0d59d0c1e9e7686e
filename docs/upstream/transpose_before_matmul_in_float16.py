"""onnxruntime 1.31, CPU: loading a float16 Transpose before a MatMul with a constant ends in a segmentation fault.

Without the Transpose, and below GraphOptimizationLevel.ORT_ENABLE_ALL (argument `extended`), the file loads. Found on an LSTM
with a linear layer after it, from both exporters.
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxruntime

if __name__ == "__main__":
    weight = onnx.numpy_helper.from_array(np.ones((8, 3), np.float16), "weight")
    nodes = [
        onnx.helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0, 2]),
        onnx.helper.make_node("MatMul", ["turned", "weight"], ["y"]),
    ]
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, ["a", "b", 8])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT16, ["b", "a", 3])
    graph = onnx.helper.make_graph(nodes, "graph", [x], [y], [weight])
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)])
    options = onnxruntime.SessionOptions()
    if "extended" in sys.argv:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
