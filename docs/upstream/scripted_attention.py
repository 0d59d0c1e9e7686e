"""torch 2.15: `torch.onnx.export(dynamo=False)` of a scripted MultiheadAttention fails at `aten::is_autocast_enabled`.

Traced or with dynamo the same module is exported. Found on vit_b_16 of torchvision.
"""

from __future__ import annotations

import io

import torch


class Attention(torch.nn.Module):
    """Self-attention."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Takes and returns (batch, sequence, 8)."""
        return self.attention(x, x, x, need_weights=False)[0]


if __name__ == "__main__":
    torch.onnx.export(
        torch.jit.script(Attention().eval()), (torch.randn(2, 3, 8),), io.BytesIO(), dynamo=False, opset_version=20
    )
