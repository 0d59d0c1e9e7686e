"""torch 2.15: `torch.onnx.export(dynamo=True)` translates scaled_dot_product_attention of four dimensions only.

PyTorch takes any number of leading dimensions: with windows beside the heads the export fails with "only 4D query, key, and
value are supported". With dynamo=False the same module is exported. Found on twins_svt_small of timm.
"""

from __future__ import annotations

import torch


class Attention(torch.nn.Module):
    """Self-attention in windows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Takes and returns (batch, windows, heads, sequence, 8)."""
        return torch.nn.functional.scaled_dot_product_attention(x, x, x)


if __name__ == "__main__":
    torch.onnx.export(Attention().eval(), (torch.randn(2, 4, 2, 5, 8),), dynamo=True, opset_version=20, verbose=False)
