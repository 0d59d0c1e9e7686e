from __future__ import annotations

from pathlib import Path

import pytest
import torch

from orchestrator.verify import latency
from orchestrator.verify.session import Session
from tests import synthetic
from tests.verify import samples

MEGABYTE = 1 << 20


class Tied(torch.nn.Module):
    """Two names of one weight, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.second = torch.nn.Linear(8, 8, bias=False)
        self.register_buffer("scale", torch.ones(2))


def test_both_are_asked_in_turn_and_the_figures_are_of_one_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "PAIRS", (5, 5))
    module = samples.seeded(samples.Pair)
    candidate = samples.make(tmp_path, module, samples.PAIR)
    inputs = {"left": torch.ones(2, 16), "right": torch.ones(2, 3)}
    speed = latency.measure(module, Session(candidate.path, synthetic.CPU, 1), inputs, "cpu", threads=1)
    assert (speed.pairs, speed.threads) == (5, 1)
    assert min(speed.artifact_seconds, speed.eager_seconds, speed.ratio) > 0
    assert speed.eager_bytes >= sum(tensor.nbytes for tensor in module.state_dict().values())


def test_memory_is_what_the_process_held_on_top_at_most_and_not_what_is_left() -> None:
    assert latency._growth(lambda: torch.ones(64 * MEGABYTE, dtype=torch.uint8).sum()) > 48 * MEGABYTE
    assert latency._growth(lambda: None) < 16 * MEGABYTE


def test_a_weight_with_two_names_is_counted_once() -> None:
    assert latency._weights(Tied()) == 8 * 8 * 4 + 2 * 4
