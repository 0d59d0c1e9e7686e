"""Small models that are right in eager and that one exporter or the other makes silently wrong; `docs/limits.md` shows each.

None of them is written as a model should be. How to write what they mean so that it survives an export is told in the docs.
"""

from __future__ import annotations

import torch
from torch import Tensor

FEATURES = 8
"""Of each step of a signal."""


class TensorIf(torch.nn.Module):
    """An `if` on a value: loud signals are squashed, quiet ones are amplified."""

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, features) to the same."""
        if bool(signal.abs().mean() > 0.25):
            return torch.tanh(signal)
        return signal * 3


class ValueWhile(torch.nn.Module):
    """A `while` on a value: the signal is halved until it is quiet."""

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, features) to the same."""
        while bool(signal.abs().mean() > 0.1):
            signal = signal / 2
        return signal


class SizeLoop(torch.nn.Module):
    """A loop over a size: a leaky sum over the steps."""

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, steps, features) to (batch, features)."""
        total = signal[:, 0]
        for step in range(1, signal.shape[1]):
            total = total * 0.5 + signal[:, step]
        return total


class SizeBranch(torch.nn.Module):
    """A branch on a size: a large batch is centred, a small one is not."""

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, features) to the same."""
        if signal.shape[0] > 3:
            return signal - signal.mean(0, keepdim=True)
        return signal * 2


class IntSize(torch.nn.Module):
    """A size turned into a Python number: a mean over the steps."""

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, steps, features) to (batch, features)."""
        steps = int(signal.shape[1])
        return signal.sum(1) / steps


class ExampleMask(torch.nn.Module):
    """A mask built for the length that it sees first and kept: attention to earlier steps only."""

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, steps, features) to the same."""
        steps = int(signal.shape[1])
        mask = torch.tensor([[float(j <= i) for j in range(steps)] for i in range(steps)], dtype=signal.dtype)
        weights = torch.softmax(signal @ signal.transpose(1, 2), -1) * mask
        return weights @ signal


class BroadcastOne(torch.nn.Module):
    """A dimension of 1 that is dropped, so that what is left broadcasts otherwise: a batch of one is centred over its steps."""

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, steps, features) to (batch, steps)."""
        scores = signal.sum(2).squeeze(0)
        return (scores - scores.mean(0)).reshape(-1, signal.shape[1])


class Dropout(torch.nn.Module):
    """Dropout that forgets to ask whether the model is in training: `functional.dropout` assumes that it is."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(FEATURES, FEATURES)

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, features) to the same."""
        return self.linear(torch.nn.functional.dropout(signal, 0.5))  # type: ignore[no-any-return]


class BatchNorm(torch.nn.Module):
    """Batch norm, to be exported in training mode: it answers by the statistics of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(FEATURES)
        self.linear = torch.nn.Linear(FEATURES, FEATURES)

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, features) to the same."""
        return self.linear(self.norm(signal))  # type: ignore[no-any-return]


class StubbornNorm(torch.nn.BatchNorm1d):
    """Batch norm that stays in training mode whatever the model's mode is."""

    def train(self, mode: bool = True) -> StubbornNorm:  # noqa: ARG002
        """Ignores the mode."""
        return super().train(True)


class LeftInTraining(torch.nn.Module):
    """One submodule is left in training mode: batch norm that adapts to each batch, as test-time adaptation does."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = StubbornNorm(FEATURES)
        self.linear = torch.nn.Linear(FEATURES, FEATURES)

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, features) to the same."""
        return self.linear(self.norm(signal))  # type: ignore[no-any-return]


class KeywordOrder(torch.nn.Module):
    """Keyword inputs that are declared in another order than forward's; both have one shape, so that nothing else notices."""

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """Two of (batch, features) to the same."""
        return query - 2 * key


class IntegerDivision(torch.nn.Module):
    """Integer division of negative numbers: Python and torch round down, ONNX's Div rounds to zero."""

    def forward(self, counts: Tensor) -> Tensor:
        """(batch, features) of integers to the same."""
        return counts // 3


class Alias(torch.nn.Module):
    """A write in place through an alias: the first step is a view of the signal, and changes it."""

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, steps, features) to the same."""
        doubled = signal * 2
        first = doubled.view(signal.shape[0], -1)[:, :8]
        first.add_(1)
        return doubled
