"""torch 2.15: `torch.onnx.export(dynamo=False)` fails on an unfold of what was padded.

Unfold is translated by the sizes of its input, and after Pad with a dynamic batch the exporter does not know them: "ONNX export
of operator Unfold, input size not accessible". With dynamo the same module is exported. Found on halonet26t of timm.
"""

from __future__ import annotations

import io

import torch


class Windows(torch.nn.Module):
    """Windows of four that overlap by two."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Takes (batch, channels, height, width)."""
        return torch.nn.functional.pad(x, [1, 1, 1, 1]).unfold(2, 4, 2)


if __name__ == "__main__":
    named = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
    torch.onnx.export(Windows().eval(), (torch.randn(2, 3, 8, 8),), io.BytesIO(), dynamo=False, opset_version=20, **named)
