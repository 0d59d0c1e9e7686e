"""One table of named dimensions in each exporter's own terms: torch.export's dynamic_shapes, TorchScript's dynamic_axes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._sympy.value_ranges import bound_sympy

from exporters.base import Dim, Example, TensorSpec

if TYPE_CHECKING:
    from torch.export import ExportedProgram

UNBOUNDED = 2**62
"""From this size on torch.export means that there is no limit: it stores some as the largest integers."""

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
    named = {name: torch.export.Dim(name, min=dims[name].min, max=dims[name].max) for name in _dynamic(dims)}

    def axes(spec: TensorSpec) -> dict[int, Any]:
        return {axis: named[size] for axis, size in enumerate(spec.shape) if isinstance(size, str) and size in named}

    return {name: torch.utils._pytree.tree_map(axes, value) for name, value in bound(forward, example).items()}


def dynamic_axes(specs: Sequence[TensorSpec], dims: Mapping[str, Dim]) -> dict[str, dict[int, str]]:
    """What the TorchScript-based exporter takes: per input and axis a name. A dimension of one possible size is static."""
    dynamic = _dynamic(dims)
    axes = {spec.name: {i: str(size) for i, size in enumerate(spec.shape) if size in dynamic} for spec in specs}
    return {name: named for name, named in axes.items() if named}


def _dynamic(dims: Mapping[str, Dim]) -> list[str]:
    return [name for name, dim in dims.items() if dim.min != dim.max]


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
    interval = bound_sympy(size.node.expr, program.range_constraints)
    return int(interval.lower), int(interval.upper) if interval.upper.is_finite and interval.upper < UNBOUNDED else None
