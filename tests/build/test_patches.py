from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

from orchestrator.build import patches


def test_nothing_is_replaced_by_using_torch() -> None:
    before = patches.snapshot()
    torch.nn.Linear(4, 3)(torch.ones(2, 4)).sum().backward()
    assert patches.replaced(before) == ()


@pytest.mark.parametrize(
    ("holder", "name", "told"),
    [
        (torch, "relu", "torch.relu"),
        (torch.nn.functional, "gelu", "torch.nn.functional.gelu"),
        (torch.nn.Linear, "forward", "torch.nn.Linear.forward"),
        (torch.Tensor, "reshape", "torch.Tensor.reshape"),
        (torch.onnx, "export", "torch.onnx.export"),
    ],
)
def test_what_was_replaced_is_named(monkeypatch: pytest.MonkeyPatch, holder: Any, name: str, told: str) -> None:
    before = patches.snapshot()
    monkeypatch.setattr(holder, name, functools.wraps(getattr(holder, name))(lambda *_: None))
    assert patches.replaced(before) == (told,)


def test_a_function_of_torch_in_the_place_of_another_one_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = patches.snapshot()
    monkeypatch.setattr(torch, "relu", torch.sigmoid)
    assert patches.replaced(before) == ("torch.relu",)


def test_what_was_taken_away_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = patches.snapshot()
    monkeypatch.delattr(torch, "relu")
    assert patches.replaced(before) == ("torch.relu",)


def test_a_wrapper_that_torch_puts_around_its_own_function_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    before = patches.snapshot()
    monkeypatch.setattr(torch, "relu", torch._disable_dynamo(torch.relu))  # type: ignore[attr-defined]
    assert patches.replaced(before) == ()
