"""torch 2.15: `torch.onnx.export(dynamo=False)` makes tensors of the default arguments of forward, a bool too.

What asks for a Python bool then fails: "argument 'is_causal' must be bool, not Tensor". With dynamo the same module is
exported. Found on eva02_tiny_patch14_224 of timm.
"""

from __future__ import annotations

import io

import torch


class Attention(torch.nn.Module):
    """Attention that a caller may make causal."""

    def forward(self, x: torch.Tensor, is_causal: bool = False) -> torch.Tensor:
        """Takes and returns (batch, heads, sequence, 8)."""
        return torch.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=is_causal)


if __name__ == "__main__":
    torch.onnx.export(Attention().eval(), (torch.randn(2, 2, 5, 8),), io.BytesIO(), dynamo=False, opset_version=20)
