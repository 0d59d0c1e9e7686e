from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from orchestrator.verify.sites import Observer, Site, Value

SIGNAL = torch.tensor([[0.5, -1.0], [2.0, 3.0]])


def observed(module: torch.nn.Module, signal: torch.Tensor = SIGNAL) -> dict[Site, tuple[Value, ...]]:
    observer = Observer()
    with torch.no_grad(), observer.watching([signal]):
        module(signal)
    return observer.decided


class Asks(torch.nn.Module):
    """Does one thing with its input."""

    def __init__(self, ask: Callable[[Asks, torch.Tensor], object]) -> None:
        super().__init__()
        self.ask = ask
        self.limit = torch.nn.Parameter(torch.tensor(1.0))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, signal: torch.Tensor) -> object:
        return self.ask(self, signal)


def is_positive(_: Asks, signal: torch.Tensor) -> object:
    if signal.sum() > 0:
        return signal
    return -signal


def is_not_zero(_: Asks, signal: torch.Tensor) -> object:
    if signal.sum():
        return signal
    return -signal


def rows(_: Asks, signal: torch.Tensor) -> object:
    return [row for row in signal if row.min() > 0]


@pytest.mark.parametrize(
    ("ask", "values", "decides"),
    [
        (is_positive, (True,), True),
        (is_not_zero, (True,), True),
        (rows, (False, True), True),
        (lambda _, x: x * x.max().item(), (3.0,), False),
        (lambda _, x: x[: int(x.max())], (3,), False),
        (lambda _, x: torch.equal(x, x * 2), (False,), True),
        (lambda self, x: float(x.mean() * self.limit), (1.125,), False),
    ],
    ids=["comparison", "truth of a number", "iteration", "item", "int", "equal", "with a weight"],
)
def test_what_asks_for_a_value_is_recorded(
    ask: Callable[[Asks, torch.Tensor], object], values: tuple[Value, ...], decides: bool
) -> None:
    ((site, found),) = observed(Asks(ask)).items()
    assert (found, site.decides) == (values, decides)
    assert site.line.startswith("tests/verify/test_sites.py:") or site.line.startswith("test_sites.py:")


@pytest.mark.parametrize(
    "ask",
    [
        lambda self, x: x if self.limit > 0 else -x,
        lambda self, x: x * self.count.item(),
        lambda _, x: x[: x.shape[0] // 2] if x.shape[0] > 1 else x,
        lambda _, x: x if torch.arange(x.shape[0]).max() > 0 else -x,
        lambda _, x: torch.where(x.sum() > 0, x, -x),
    ],
    ids=["weight", "buffer", "size", "made of sizes", "where"],
)
def test_what_does_not_depend_on_values_of_the_inputs_is_none(ask: Callable[[Asks, torch.Tensor], object]) -> None:
    assert observed(Asks(ask)) == {}


def test_what_was_written_into_another_tensor_still_comes_from_the_inputs() -> None:
    def written(_: Asks, signal: torch.Tensor) -> object:
        kept = torch.zeros(2, 2)
        kept.copy_(signal)
        return bool(kept.sum() > 0)

    ((site, values),) = observed(Asks(written)).items()
    assert values == (True,)
    assert str(site).endswith("in written: `return bool(kept.sum() > 0)`")


def test_the_line_is_the_models_and_not_that_of_torch_which_it_calls() -> None:
    def checked(_: Asks, signal: torch.Tensor) -> object:
        return torch.distributions.Normal(signal, torch.ones(2, 2), validate_args=True)

    sites = [*observed(Asks(checked))]
    assert sites
    assert {site.function for site in sites} == {"checked"}


def test_steps_are_the_operators_that_ran() -> None:
    observer = Observer()
    with torch.no_grad(), observer.watching([SIGNAL]):
        torch.relu(SIGNAL) + 1
    assert observer.steps == ["aten.relu.default", "aten.add.Tensor"]
