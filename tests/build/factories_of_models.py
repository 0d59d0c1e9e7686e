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


class Exportable(torch.onnx.ExportableModule):
    """Declares itself: identifiers and a weight by position, a mask by name, two named dimensions and one static axis."""

    def __init__(self, shapes: Any = None, names: Any = ("ids", "weight", "mask"), example: Any = None) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 4)
        self.shapes, self.names, self.example = shapes, names, example

    def forward(self, tokens: Tensor, weight: Tensor, *, keep: Tensor) -> dict[str, Any]:
        hidden = self.embedding(tokens) * keep[..., None]
        return {"hidden": hidden, "parts": (hidden.sum(dim=1) * weight, None)}

    def example_arguments(self) -> tuple[Any, Any]:
        tokens = torch.tensor([[3, 10, 0], [1, 2, 5]])
        return (tokens, torch.ones(2, 4) if self.example is None else self.example), {"keep": tokens > 2}

    def dynamic_shapes(self) -> Any:
        if self.shapes is not None:
            return self.shapes
        batch, sequence = torch.export.Dim("batch", min=1, max=8), torch.export.Dim("sequence")
        return {"tokens": {0: batch, 1: sequence}, "weight": (batch, None), "keep": {0: batch, 1: sequence}}

    def input_names(self) -> Any:
        return self.names


def bare() -> torch.nn.Module:
    """An ExportableModule that leaves out whatever it may leave out."""

    class Bare(torch.onnx.ExportableModule):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2

        def example_arguments(self) -> tuple[Any, Any]:
            return (torch.tensor([[0.5, 2.0]]),), None

    return Bare()
