from __future__ import annotations

from collections.abc import Mapping

import torch

from exporters.base import Dim, TensorSpec
from orchestrator.verify.sizes import on_other_paths

SPECS = (TensorSpec(name="signal", shape=("batch", "steps", 8), dtype="float32"),)
PROBED = ({"batch": 2, "steps": 3}, {"batch": 1, "steps": 3}, {"batch": 2, "steps": 1}, {"batch": 5, "steps": 7})


def found(module: torch.nn.Module, *, top: int | None = None, probed: tuple[Mapping[str, int], ...] = PROBED) -> list[object]:
    dims = {name: Dim(name=name, min=1, max=top) for name in ("batch", "steps")}
    return list(on_other_paths(module, SPECS, dims, probed, "float32"))


class Centred(torch.nn.Module):
    """Takes another path from a number of steps on."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.linear = torch.nn.Linear(8, 8)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.linear(signal)
        return hidden - hidden.mean() if signal.shape[1] > self.limit else hidden


def test_the_smallest_size_on_the_other_side_is_found() -> None:
    assert found(Centred(9)) == [{"batch": 2, "steps": 16}]


def test_a_side_that_a_probe_takes_is_no_news() -> None:
    assert found(Centred(5)) == []


def test_a_size_that_is_not_declared_is_not_tried() -> None:
    assert found(Centred(9), top=15) == []


def test_a_model_with_one_path_has_none() -> None:
    assert found(torch.nn.LSTM(8, 4)) == []


def test_a_loop_over_a_size_gives_one_size_for_its_dimension() -> None:
    class Loop(torch.nn.Module):
        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            return torch.stack([signal[:, step] * 2 for step in range(signal.shape[1])])

    assert found(Loop()) == [{"batch": 2, "steps": 4}]


def test_a_model_that_asks_for_values_or_raises_has_none() -> None:
    class Asks(torch.nn.Module):
        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            return signal * 2 if bool(signal.sum() > 0) else signal

    class Raises(torch.nn.Module):
        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            if signal.shape[1] > 3:
                raise ValueError("too long")
            return signal

    assert found(Asks()) == []
    assert found(Raises(), probed=PROBED[:3]) == []


def test_what_a_model_keeps_of_its_first_call_stays_real() -> None:
    class Keeps(torch.nn.Module):
        kept: torch.Tensor | None = None

        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            if self.kept is None:
                self.kept = torch.arange(8.0)
            return signal * self.kept

    module = Keeps()
    assert found(module) == []
    assert module.kept is None


def test_a_model_that_cannot_be_copied_has_none() -> None:
    class Uncopied(torch.nn.Linear):
        def __deepcopy__(self, memo: object) -> None:
            raise TypeError("there is one of these")

    assert found(Uncopied(8, 8)) == []
