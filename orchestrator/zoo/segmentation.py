"""A model that labels every pixel of an image of any size: its decoder reads sizes from its encoder, in the graph."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


class UNet(torch.nn.Module):
    """A U-Net (Ronneberger et al. 2015) with padded convolutions, which upsamples to the size of the level that it joins."""

    def __init__(self, channels: int, width: int, depth: int, classes: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        joins = zip(widths[-2::-1], widths[:0:-1], strict=True)
        self.encoder = torch.nn.ModuleList(map(double_convolution, [channels, *widths], widths))
        self.decoder = torch.nn.ModuleList(double_convolution(high + low, high) for high, low in joins)
        self.pool = torch.nn.MaxPool2d(2)
        self.head = torch.nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Labels each pixel.

        Args:
            image: (batch, channels, height, width), height and width at least 2 ** (depth - 1).

        Returns:
            Scores, (batch, classes, height, width).
        """
        levels: list[Tensor] = []
        signal = image
        for block in self.encoder:
            signal = block(self.pool(signal) if len(levels) > 0 else signal)
            levels.append(signal)
        for index, block in enumerate(self.decoder):
            skipped = levels[-2 - index]
            raised = interpolate(signal, size=(skipped.shape[2], skipped.shape[3]), mode="bilinear")
            signal = block(torch.cat([skipped, raised], dim=1))
        scores: Tensor = self.head(signal)
        return scores


def double_convolution(inputs: int, outputs: int) -> torch.nn.Sequential:
    """Two convolutions of 3 by 3, each with BatchNorm and ReLU; the size is kept."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(inputs, outputs, kernel_size=3, padding=1),
        torch.nn.BatchNorm2d(outputs),
        torch.nn.ReLU(),
        torch.nn.Conv2d(outputs, outputs, kernel_size=3, padding=1),
        torch.nn.BatchNorm2d(outputs),
        torch.nn.ReLU(),
    )
