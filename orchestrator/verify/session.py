"""Runs an artifact in ONNX Runtime on the target's execution provider: the only module that imports it."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Its import starts a thread, writes a device id into the home folder and looks up hosts otherwise.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented

from orchestrator.spec import Target
from orchestrator.verify.base import ArtifactError

CPU = "CPUExecutionProvider"
FALLBACKS = {"TensorrtExecutionProvider": ["CUDAExecutionProvider"]}
"""Providers on the same device that take what the declared one leaves: ONNX Runtime's documentation of TensorRT asks for it."""
ERRORS_ONLY = 3
"""ONNX Runtime's severity level from which on it logs."""


class Session:
    """An artifact in ONNX Runtime on one provider, loaded at the first use."""

    def __init__(self, path: Path, target: Target, threads: int, *, optimised: bool = True) -> None:
        self._path, self._target, self._threads, self._optimised = path, target, threads, optimised

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run the artifact.

        Args:
            inputs: By name; those that the artifact does not have are left out, which the interface check reports.

        Returns:
            The outputs in the artifact's order.

        Raises:
            ArtifactError: It does not load, or does not run on these inputs.
        """
        session = self._loaded()
        wanted = {value.name for value in session.get_inputs()}
        try:
            answer = session.run(None, {name: value for name, value in inputs.items() if name in wanted})
        except Exception as error:
            raise ArtifactError(f"ONNX Runtime fails on it: {_line(error)}") from error
        return [np.asarray(value) for value in answer]

    def providers(self) -> frozenset[str]:
        """The execution providers that took nodes of the graph.

        Raises:
            ArtifactError: It does not load.
        """
        return frozenset(info.ep_name for info in self._loaded().get_provider_graph_assignment_info())

    def _loaded(self) -> Any:
        if isinstance(self._opened, str):
            raise ArtifactError(self._opened)
        return self._opened

    @functools.cached_property
    def _opened(self) -> Any:
        """The session, or why there is none: an artifact that does not load is tried once."""
        try:
            return self._open()
        except Exception as error:
            return f"ONNX Runtime {onnxruntime.__version__} does not load it: {self._told(error)}"

    def _open(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        if not self._optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        provider = self._target.provider
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        providers = [provider, *FALLBACKS.get(provider, [])]
        session = onnxruntime.InferenceSession(self._path, options, providers=providers, enable_fallback=0)
        # A provider that cannot start becomes the CPU with no more than a line on the terminal.
        if provider not in session.get_providers():
            raise RuntimeError(f"{provider} does not start on this machine")
        return session

    def _told(self, error: Exception) -> str:
        """The reason; a kernel that is missing is told for the first node only, where it is the dtype that has none."""
        if self._target.provider == CPU and isinstance(error, NotImplemented) and _holds_bfloat16(self._path):
            return f"its CPU provider has no bfloat16 kernels, and target=reference judges it without them: {_line(error)}"
        return _line(error)


def run_unoptimised(graph: bytes, folder: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Run a graph that is not on disk on the CPU provider, each node as it stands.

    Args:
        graph: The serialised model.
        folder: That its external data is in.
        inputs: By name; those that it does not have are left out.

    Returns:
        The outputs by name.

    Raises:
        ArtifactError: It does not load or does not run.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY + 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=[CPU])
        wanted = {value.name for value in session.get_inputs()}
        answers = session.run(None, {name: value for name, value in inputs.items() if name in wanted})
    except Exception as error:
        raise ArtifactError(f"ONNX Runtime fails on it: {_line(error)}") from error
    return dict(zip((value.name for value in session.get_outputs()), answers, strict=True))


def _holds_bfloat16(path: Path) -> bool:
    graph = onnx.load(path, format="protobuf", load_external_data=False).graph
    types = [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)]
    return onnx.TensorProto.BFLOAT16 in (*types, *(tensor.data_type for tensor in graph.initializer))


@functools.cache
def takes_ir_version(version: int) -> bool:
    """Whether the installed ONNX Runtime loads files of an IR version, found by trying on a file of one node."""
    value = functools.partial(onnx.helper.make_tensor_value_info, elem_type=onnx.TensorProto.FLOAT, shape=[1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "probe", [value("x")], [value("y")])
    model = onnx.helper.make_model(graph, ir_version=version, opset_imports=[onnx.helper.make_opsetid("", 18)])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY + 1
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[CPU])
    except Exception:
        return False
    return True


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
