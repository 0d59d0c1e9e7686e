"""A model whose path depends on the values of its input, written so that a compiler can keep both sides; a trace keeps one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.jit import is_scripting  # type: ignore[attr-defined]


class EarlyExit(torch.nn.Module):
    """Sends a quiet signal through a short path and a loud one through a deep path."""

    def __init__(self, features: int, hidden: int, classes: int, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.stem = torch.nn.Linear(features, hidden)
        self.short = torch.nn.Linear(hidden, classes)
        self.deep = torch.nn.Sequential(
            torch.nn.Linear(hidden, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, hidden), torch.nn.ReLU()
        )
        self.head = torch.nn.Linear(hidden, classes)

    def forward(self, signal: Tensor) -> Tensor:
        """Classifies a batch; the path is chosen for the batch as a whole, by its mean absolute value.

        Args:
            signal: (batch, features).

        Returns:
            Scores, (batch, classes).
        """
        loud = signal.abs().mean() > self.threshold
        hidden = torch.relu(self.stem(signal))
        # torch.export keeps both sides of torch.cond only, torch.jit.script those of an `if` only; it skips this block unread.
        if not is_scripting():  # noqa: SIM102
            if torch.compiler.is_exporting():
                answer: Tensor = torch.cond(loud, self.go_deep, self.exit_early, (hidden,))
                return answer
        if bool(loud):
            return self.go_deep(hidden)
        return self.exit_early(hidden)

    def go_deep(self, hidden: Tensor) -> Tensor:
        """The path of a loud signal."""
        scores: Tensor = self.head(self.deep(hidden))
        return scores

    def exit_early(self, hidden: Tensor) -> Tensor:
        """The path of a quiet signal."""
        scores: Tensor = self.short(hidden)
        return scores
