from __future__ import annotations

from functools import partial

import pytest
import torch

from orchestrator.verify.paths import parting

SHORT, LONG = torch.ones(2, 8), torch.ones(5, 8)


class Branch(torch.nn.Module):
    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        if signal.shape[0] > 3:
            return signal * 2
        return signal - 1


class Ternary(torch.nn.Module):
    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return signal * 2 if signal.shape[0] > 3 else signal - 1


class Loop(torch.nn.Module):
    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        for _ in range(signal.shape[0]):
            signal = signal * 2
        return signal


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (Branch(), "if signal.shape[0] > 3:"),
        (Ternary(), "return signal * 2 if signal.shape[0] > 3 else signal - 1"),
        (Loop(), "for _ in range(signal.shape[0]):"),
    ],
    ids=["branch", "ternary", "loop"],
)
def test_the_line_that_decides_is_told(module: torch.nn.Module, text: str) -> None:
    line = parting(partial(module, SHORT), partial(module, LONG))
    assert line is not None
    assert line.endswith(f" in forward: `{text}`")
    assert "test_paths.py:" in line


def test_one_way_has_no_parting() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU())
    assert parting(partial(module, SHORT), partial(module, LONG)) is None
    assert parting(partial(Branch(), SHORT), partial(Branch(), SHORT * 3)) is None
