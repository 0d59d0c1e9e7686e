"""The private parts of torch.onnx that save time, for the release that they were read in; with another the public way is gone.

What they change is seconds only: `tests/exporters/test_sharing.py` compares the graphs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch

KNOWN_RELEASE = "2.15."


@contextmanager
def one_registry() -> Iterator[None]:
    """Lets every export of the process take its functions from one registry, which torch fills anew for each."""
    if not torch.__version__.startswith(KNOWN_RELEASE):
        yield
        return
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    _all_functions()
    with patch.object(ONNXRegistry, "from_torchlib", classmethod(_registry)):
        yield


@contextmanager
def decomposed_once() -> Iterator[None]:
    """Lets a program that torch.onnx has decomposed before be, unless another opset has operators to decompose further."""
    if not torch.__version__.startswith(KNOWN_RELEASE):
        yield
        return
    from torch.onnx._internal.exporter import _fx_passes

    with patch.object(_fx_passes, "decompose_with_registry", _decompose_if_needed(_fx_passes.decompose_with_registry)):
        yield


@functools.cache
def _all_functions() -> dict[Any, list[Any]]:
    """Of all opsets."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with patch.object(ONNXRegistry, "_cleanup_registry_based_on_opset_version", lambda _: None):
        return ONNXRegistry.from_torchlib().functions


def _registry(cls: Any, opset_version: int) -> Any:
    registry = cls()
    registry._opset_version = opset_version
    registry.functions = {operator: list(functions) for operator, functions in _all_functions().items()}
    registry._cleanup_registry_based_on_opset_version()
    return registry


def _decompose_if_needed(decompose: Callable[..., torch.export.ExportedProgram]) -> Callable[..., torch.export.ExportedProgram]:
    from torch.onnx._internal.exporter import _decomp

    def if_needed(program: torch.export.ExportedProgram, registry: Any) -> torch.export.ExportedProgram:
        table = _decomp.create_onnx_friendly_decomposition_table(set(_decomp.get_onnx_implemented_overloads(registry)))
        graphs = (module.graph for module in program.graph_module.modules() if isinstance(module, torch.fx.GraphModule))
        if any(node.target in table for graph in graphs for node in graph.nodes if node.op == "call_function"):
            return decompose(program, registry)
        return program

    return if_needed
