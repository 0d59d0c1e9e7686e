"""Which opsets one export serves: the rules of torch's exporters, found by comparison, for the versions they were found with.

`tests/exporters/test_sharing.py` compares what is shared with an export of its own for each opset.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from onnx import helper

from exporters import sources
from exporters.base import Emission, Example, Progress

OPSETS = range(18, 24)
"""For which sharing was compared with independent exports."""
BASE = 23
"""The opset of dynamo from which a program can be fed back for every lower one; from 18, for one, the others would differ."""
PROVED_WITH = {"torch": "2.15", "onnxscript": "0.7"}
"""Releases for which the rules below were made; with others every opset is exported by itself."""
Boundaries = Mapping[int, frozenset[str]]
DYNAMO: Boundaries = {
    20: frozenset({"Gelu", "GridSample", "DFT"}),
    21: frozenset({"GroupNormalization"}),
    23: frozenset({"Attention", "RMSNormalization", "RotaryEmbedding"}),
}
"""Opsets from which on dynamo writes another graph, by what the graph at `BASE` has then. One too many only costs time."""
TORCHSCRIPT: Boundaries = {20: frozenset({"Gelu", "GridSample", "AffineGrid"})}
"""The same for the TorchScript-based exporter, by what the graph at 20 or above has."""


class Export(Protocol):
    """One call of an exporter, for opsets by themselves and for several together."""

    def alone(self, opset: int, reason: str | None) -> Iterator[Progress | Emission]:
        """An export of its own; the reason is told if there is one."""
        ...

    def shared(self, opsets: Sequence[int]) -> Iterator[Progress | Emission]:
        """At least two opsets of `OPSETS`."""
        ...


def exported(
    export: Export, module: torch.nn.Module, example: Example, opsets: Sequence[int], options: Mapping[str, Any]
) -> Iterator[Progress | Emission]:
    """The emissions of a call: of what one capture can serve together, and of the others by themselves, which come first.

    Args:
        export: Of the exporter.
        module: That is exported.
        example: Its inputs.
        opsets: That are asked for.
        options: Of the exporter.
    """
    reason = objection(module, example.values.values(), options)
    together = [opset for opset in opsets if opset in OPSETS]
    if reason or len(together) == 1:
        together = []
    for opset in opsets:
        if opset not in together:
            yield from export.alone(opset, reason if len(opsets) > 1 else None)
    if together:
        yield from export.shared(together)


def each_alone(export: Export, opsets: Sequence[int], error: Exception) -> Iterator[Progress | Emission]:
    """What fails shared may work for each, and what fails for one only must not cost the others."""
    for opset in opsets:
        yield from export.alone(opset, f"made from one capture it fails: {sources.told(error)}")


def objection(module: torch.nn.Module, values: Iterable[torch.Tensor], options: Mapping[str, Any]) -> str | None:
    """Why each opset of a model is exported by itself; None if nothing speaks against sharing.

    Args:
        module: That is exported.
        values: Its example inputs.
        options: Of the exporter.
    """
    if others := _other_versions():
        return f"sharing was compared with independent exports for {_told(PROVED_WITH)}, here is {_told(others)}"
    dtypes = {tensor.dtype for tensor in (*module.parameters(), *module.buffers(), *values) if tensor.dtype.is_floating_point}
    if half := dtypes & {torch.float16, torch.bfloat16}:
        return f"the model has {' and '.join(sorted(str(dtype) for dtype in half))} tensors"
    if any(submodule.training for submodule in module.modules()):
        return "a part of the model is in training mode"
    for name in ("custom_translation_table", "export_modules_as_functions"):
        if options.get(name):
            return f"exporter.{name} is given"
    return None


def groups(opsets: Iterable[int], operators: Collection[str], boundaries: Boundaries) -> list[list[int]]:
    """The opsets that have one graph but for its stamps, lowest first.

    Args:
        opsets: That are asked for.
        operators: Types in the graph of the highest group.
        boundaries: Of the exporter.
    """
    begins = [opset for opset, types in boundaries.items() if not types.isdisjoint(operators)]
    found: dict[int, list[int]] = {}
    for opset in sorted(opsets):
        found.setdefault(sum(begin <= opset for begin in begins), []).append(opset)
    return list(found.values())


def ir_version(opset: int) -> int:
    """That the TorchScript-based exporter writes with an opset: the lowest that knows it (onnx.helper's table)."""
    version: int = helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
    return version


@functools.cache
def _other_versions() -> dict[str, str]:
    installed = {name: importlib.metadata.version(name) for name in PROVED_WITH}
    return {name: version for name, version in installed.items() if not version.startswith(f"{PROVED_WITH[name]}.")}


def _told(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
