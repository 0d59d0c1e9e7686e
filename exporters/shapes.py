"""One table of named dimensions in each exporter's own terms: torch.export's dynamic_shapes, TorchScript's dynamic_axes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from exporters.base import Dim, Example, TensorSpec

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Ranges = Mapping[str, tuple[int, int | None]]


def bound(forward: Callable[..., Any], example: Example) -> dict[str, Any]:
    """The inputs by parameter of forward, in the order of its signature; a variadic parameter holds a tuple or a dict.

    Args:
        forward: Of the module that is exported.
        example: Its inputs; each is replaced by its TensorSpec.
    """
    positional = [spec for spec in example.specs if not spec.keyword]
    keyword = {spec.name: spec for spec in example.specs if spec.keyword}
    return inspect.signature(forward).bind(*positional, **keyword).arguments


def in_signature_order(forward: Callable[..., Any], example: Example) -> tuple[TensorSpec, ...]:
    """The inputs in the order of forward's parameters.

    Both exporters name the inputs of the graph in this order, whatever the order of the keywords in the call.
    """
    return tuple(torch.utils._pytree.tree_leaves(bound(forward, example)))


def dynamic_shapes(forward: Callable[..., Any], example: Example, dims: Mapping[str, Dim]) -> dict[str, Any]:
    """What torch.export takes: per parameter and axis a `torch.export.Dim` with the declared range.

    A dimension of one possible size is static.
    """
    named = {d.name: torch.export.Dim(d.name, min=d.min, max=d.max) for d in dims.values() if d.min != d.max}

    def axes(spec: TensorSpec) -> dict[int, Any]:
        return {axis: named[size] for axis, size in enumerate(spec.shape) if isinstance(size, str) and size in named}

    return {name: torch.utils._pytree.tree_map(axes, value) for name, value in bound(forward, example).items()}


def dynamic_axes(specs: Sequence[TensorSpec]) -> dict[str, dict[int, str]]:
    """What the TorchScript-based exporter takes: per input and axis a name."""
    axes = {spec.name: {i: size for i, size in enumerate(spec.shape) if isinstance(size, str)} for spec in specs}
    return {name: named for name, named in axes.items() if named}


def obtained_ranges(program: ExportedProgram, specs: Sequence[TensorSpec]) -> Ranges:
    """The sizes that a captured program admits for each named dimension; the narrowest, where axes of one name differ.

    Args:
        program: The captured program.
        specs: Its inputs in the order of forward's signature.
    """
    found: dict[str, tuple[int, int | None]] = {}
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and "val" in node.meta}
    for name, spec in zip(program.graph_signature.user_inputs, specs, strict=True):
        for size, actual in zip(spec.shape, values[str(name)].shape, strict=True):
            if isinstance(size, str):
                low, high = _range(program, actual)
                seen_low, seen_high = found.get(size, (low, high))
                ends = [end for end in (high, seen_high) if end is not None]
                found[size] = (max(low, seen_low), min(ends, default=None))
    return found


def _range(program: ExportedProgram, size: int | torch.SymInt) -> tuple[int, int | None]:
    if isinstance(size, int):
        return size, size
    interval = program.range_constraints[size.node.expr]
    return int(interval.lower), int(interval.upper) if interval.upper.is_finite and interval.upper < 2**62 else None
