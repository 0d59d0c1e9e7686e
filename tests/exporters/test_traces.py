from __future__ import annotations

import pytest
import torch

from exporters import traces

SMALL, LARGE = torch.full((2, 3, 8), 0.5), torch.full((5, 7, 8), 0.25)


def frozen(module: torch.nn.Module) -> list[tuple[str, str, str]]:
    one, other = (traces.trace(module, (signal,)) for signal in (SMALL, LARGE))
    return [((place.source or "").partition(" in ")[2], place.one, place.other) for place in traces.frozen(one, other)]


class Linear(torch.nn.Module):
    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return signal.reshape(signal.shape[0], -1) * 2


class Mean(torch.nn.Module):
    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return signal.sum(1) / int(signal.shape[1])


class Mask(torch.nn.Module):
    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return signal * torch.tensor([[float(step)] for step in range(int(signal.shape[1]))])


class Loop(torch.nn.Module):
    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        total = signal[:, 0]
        for step in range(1, signal.shape[1]):
            total = total + signal[:, step]
        return total


class Item(torch.nn.Module):
    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return signal * signal.max().item()


@pytest.mark.parametrize(
    ("module", "found"),
    [
        (Linear(), []),
        (torch.nn.LSTM(8, 4), []),
        (Mean(), [("forward", "the constant 3", "the constant 7")]),
        (Mask(), [("forward", "a constant tensor of shape [3, 1]", "a constant tensor of shape [7, 1]")]),
        (Loop(), [("forward", "nothing more", "prim::Constant")]),
        (Item(), [("forward", "the constant 0.5", "the constant 0.25")]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "",
)
def test_what_a_trace_freezes_is_named_and_nothing_else(module: torch.nn.Module, found: list[tuple[str, str, str]]) -> None:
    assert frozen(module) == found


def test_the_lines_that_became_python_values_are_told() -> None:
    (line,) = traces.trace(Item(), (SMALL,)).converted
    assert line == f"test_traces.py:{Item.forward.__code__.co_firstlineno + 1}" or line.endswith(
        f"/test_traces.py:{Item.forward.__code__.co_firstlineno + 1}"
    )


def test_the_module_is_left_as_it_was() -> None:
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Dropout()).train()
    module[1].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    traces.trace(module, (SMALL,))
    assert [part.training for part in module.modules()] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
