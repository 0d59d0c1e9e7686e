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
    """A `while` on a value: the signal is halved until it is small."""

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, features) to the same."""
        while bool(signal.abs().max() > 0.2):
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
    """A size turned into a Python int: windows of two steps are flattened."""

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, 4, features) to (batch * 2, 2 * features)."""
        windows = int(signal.shape[0]) * 2
        return signal.reshape(windows, 2 * FEATURES)


class ExampleMask(torch.nn.Module):
    """A mask built for the length that it sees first and kept: attention to earlier steps only."""

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, steps, features) to the same."""
        steps = int(signal.shape[1])
        mask = torch.tensor([[float(j <= i) for j in range(steps)] for i in range(steps)], dtype=signal.dtype)
        weights = torch.softmax(signal @ signal.transpose(1, 2), -1) * mask
        return weights @ signal


class SqueezedOne(torch.nn.Module):
    """A dimension of 1 that is dropped and then broadcasts: `squeeze()` takes a batch of one away as well."""

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, steps, features) to (batch, steps) scores, centred over the batch; a batch of 1 over the steps."""
        scores = signal.sum(2, keepdim=True).squeeze()
        return (scores - scores.mean(0)).reshape(-1, signal.shape[1])


class Segments(torch.nn.Module):
    """A dimension of 1 that broadcasts: each segment of eight steps gets its own offset; one segment gets both."""

    def __init__(self) -> None:
        super().__init__()
        self.offsets = torch.nn.Parameter(torch.randn(2, FEATURES))

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, steps, features), 1 to 16 steps, to (batch, 2, features)."""
        starts = signal[:, ::8]
        return starts + self.offsets


class Dropout(torch.nn.Module):
    """Dropout that forgets to ask whether the model is in training: `functional.dropout` assumes that it is."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(FEATURES, FEATURES)

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, features) to the same."""
        return self.linear(torch.nn.functional.dropout(signal, 0.5))


class Normalised(torch.nn.Module):
    """Batch norm, to be exported in training mode: it answers by the statistics of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(FEATURES)
        self.linear = torch.nn.Linear(FEATURES, FEATURES)

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, features) to the same."""
        return self.linear(self.norm(signal))


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
        return self.linear(self.norm(signal))


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
        first = doubled.view(signal.shape[0], -1)[:, :FEATURES]
        first.add_(1)
        return doubled
