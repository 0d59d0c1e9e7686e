"""An operator of a user's own, a model that calls it, and its translation to ONNX."""

from __future__ import annotations

import torch
from onnxscript import opset18 as op
from torch import Tensor


@torch.library.custom_op("orchestrator_tests::halved", mutates_args=())
def halved(x: Tensor) -> Tensor:
    return x / 2


@halved.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def translate_halved(x):  # type: ignore[no-untyped-def]
    return op.Mul(x, op.Constant(value_float=0.5))


class Halving(torch.nn.Module):
    """A layer and the operator."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return halved(self.linear(x))
