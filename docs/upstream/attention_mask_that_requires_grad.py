"""torch 2.15: `torch.onnx.export(dynamo=True)` fails on scaled_dot_product_attention whose mask is computed from a parameter.

With a mask that requires a gradient attention runs by another kernel, whose answer has other strides. Capture and decomposition
do not agree on whether it does, so that a `contiguous()` that capture found to do nothing is missed in the decomposed program:
"Cannot view a tensor with shape ... and strides ...". Without gradients (argument `frozen`) the export succeeds. Found on T5 of
transformers, whose relative position bias is such a mask; `attn_implementation: eager` goes round it.
"""

from __future__ import annotations

import sys

import torch


class Attention(torch.nn.Module):
    """Self-attention of two heads with a bias for each distance."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Embedding(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Takes and returns (batch, sequence, 8)."""
        heads = x.view(x.shape[0], -1, 2, 4).transpose(1, 2)
        place = torch.arange(x.shape[1])
        bias = self.bias((place[:, None] - place[None]).clamp(0, 3)).permute(2, 0, 1)[None]
        bias = bias.expand(x.shape[0], -1, -1, -1).contiguous()
        answer = torch.nn.functional.scaled_dot_product_attention(heads, heads, heads, attn_mask=bias)
        return answer.transpose(1, 2).contiguous().reshape(x.shape[0], x.shape[1], -1)


if __name__ == "__main__":
    module = Attention().eval().requires_grad_("frozen" not in sys.argv)
    dims = {0: torch.export.Dim("batch", min=1, max=8), 1: torch.export.Dim("sequence", min=1, max=64)}
    torch.onnx.export(module, (torch.randn(2, 3, 8),), dynamo=True, opset_version=20, dynamic_shapes=(dims,), verbose=False)
