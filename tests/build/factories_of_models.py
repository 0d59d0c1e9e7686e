"""Models as a user's package would hold them; `CALLS` notes every factory that was called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CALLS: list[str] = []


@dataclass
class Answer:
    """What transformers models answer with."""

    hidden: Tensor
    pooled: Tensor


class Net(torch.nn.Module):
    """Says nothing of what it answers with."""

    def __init__(self, width: int = 4, kind: str = "tensor", inner: Any = None, parts: Any = ()) -> None:
        CALLS.append("Net")
        super().__init__()
        self.linear = torch.nn.Linear(3, width)
        self.norm = torch.nn.BatchNorm1d(width)
        self.kind, self.inner, self.parts = kind, inner, parts
        self.forwards = 0

    def forward(self, x):  # type: ignore[no-untyped-def]
        self.forwards += 1
        y = self.norm(self.linear(x))
        return {"tensor": y, "tuple": (y, x), "list": [y], "dataclass": Answer(hidden=y, pooled=y[:, :1])}[self.kind]


class Annotated(torch.nn.Module):
    """Says that it answers with tensors, and is believed."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise AssertionError(f"need not be called on {x}")


class Keyword(torch.nn.Module):
    """Takes its second input by name."""

    def forward(self, x: Tensor, *, scale: Tensor) -> Tensor:
        return x * scale


def part(value: int) -> int:
    """A node that is no module."""
    CALLS.append(f"part {value}")
    return value


def raising() -> torch.nn.Module:
    """Fails with a message of several lines."""
    raise ValueError("no such\n  width: 3")


def no_module() -> int:
    """Returns what cannot be exported."""
    return 3
