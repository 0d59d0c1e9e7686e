from __future__ import annotations

import torch

from orchestrator.zoo.recurrent import LSTM


def test_steps_are_scored_and_the_final_states_returned() -> None:
    module = LSTM(features=3, hidden=4, classes=5).eval()
    scores, state = module(torch.rand(2, 7, 3))
    assert scores.shape == (2, 7, 5)
    assert state.shape == (4, 2, 4)


def test_a_step_sees_those_before_and_after_it() -> None:
    module = LSTM(features=3, hidden=4, classes=5).eval()
    signal = torch.rand(1, 6, 3)
    changed = signal.clone()
    changed[0, 3] += 1
    moved = (module(signal)[0] - module(changed)[0]).abs().sum(-1)[0]
    assert bool((moved > 0).all())
