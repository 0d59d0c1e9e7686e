"""A recurrent model: exporters must keep the loop over a sequence of any length, and the final states."""

from __future__ import annotations

import torch
from torch import Tensor


class LSTM(torch.nn.Module):
    """A bidirectional LSTM of two layers with a classifier for each step."""

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(features, hidden, num_layers=2, batch_first=True, bidirectional=True)
        self.classifier = torch.nn.Linear(2 * hidden, classes)

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Classifies each step.

        Args:
            signal: (batch, sequence, features).

        Returns:
            The scores of each step, (batch, sequence, classes), and the final states, (layers * directions, batch, hidden).
        """
        steps, (state, _) = self.lstm(signal)
        return self.classifier(steps), state
