"""Traces that nobody exports: what a traced export has frozen shows where two traces of one module differ."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from exporters import sources
from exporters.surroundings import surroundings

CONSTANT = "prim::Constant"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One node of a trace."""

    kind: str
    """As TorchScript calls it: aten::add, prim::Constant, …"""
    source: str | None
    """`package/file.py:12 in forward`."""
    constant: Any = None
    """What a constant holds."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What a trace recorded."""

    operations: tuple[Operation, ...]
    converted: frozenset[str]
    """Lines of the model, `package/file.py:12`, at which a tensor became a Python value: what came of it is frozen."""


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """A place at which two traces differ."""

    source: str | None
    """`package/file.py:12 in forward`."""
    one: str
    """What the first trace has there, for a person."""
    other: str


def trace(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> Trace:
    """Trace a module as a traced export does, without writing anything; the module is left as it was found.

    Raises:
        Exception: Whatever torch raises for a module that cannot be traced.
    """
    with surroundings(module) as warnings, torch.no_grad():
        traced = torch.jit.trace(module, tuple(inputs), check_trace=False, strict=False)  # type: ignore[no-untyped-call]
    return Trace(
        operations=tuple(map(_operation, _nodes(traced.inlined_graph))),
        converted=frozenset(warning.source for warning in warnings if warning.category == "TracerWarning" and warning.source),
    )


def frozen(one: Trace, other: Trace) -> Iterator[Frozen]:
    """Where the traces differ: each constant with another value, or the first place from which on they do other things."""
    for here, there in itertools.zip_longest(one.operations, other.operations):
        if here is None or there is None or here.kind != there.kind:
            found = here or there
            yield Frozen(source=found.source, one=_told(here), other=_told(there))
            return
        if here.kind == CONSTANT and not _equal(here.constant, there.constant):
            yield Frozen(source=here.source, one=_value(here.constant), other=_value(there.constant))


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _operation(node: Any) -> Operation:
    constant = node.output().toIValue() if node.kind() == CONSTANT else None
    return Operation(kind=node.kind(), source=sources.innermost(node.sourceRange()), constant=constant)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


def _told(operation: Operation | None) -> str:
    return operation.kind if operation else "nothing more"


def _value(constant: Any) -> str:
    if not isinstance(constant, torch.Tensor):
        return f"the constant {constant}"
    return f"the constant {constant.item()}" if constant.numel() == 1 else f"a constant tensor of shape {list(constant.shape)}"
