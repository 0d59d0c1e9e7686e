from __future__ import annotations

import torch

from orchestrator.verify.modes import differences, other_modes, snapshot
from tests.verify import samples

INPUTS = [torch.ones(2, 4)]


def test_the_other_mode_is_the_one_that_the_module_is_not_in() -> None:
    module = samples.seeded(lambda: torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout()))
    assert [mode.name for mode in other_modes(module, INPUTS)] == ["train"]
    assert [mode.name for mode in other_modes(module.train(), INPUTS)] == ["eval"]
    module[0].eval()
    assert [mode.name for mode in other_modes(module, INPUTS)] == ["train", "eval"]


def test_asking_for_another_mode_changes_nothing() -> None:
    module = samples.seeded(lambda: torch.nn.BatchNorm1d(4))
    before, state = snapshot(module), torch.get_rng_state()
    (train,) = other_modes(module, INPUTS)
    assert train.outputs[0].shape == (2, 4)
    assert list(differences(before, snapshot(module))) == []
    assert torch.equal(torch.get_rng_state(), state)


def test_a_mode_in_which_the_model_raises_is_left_out() -> None:
    assert other_modes(samples.seeded(lambda: torch.nn.BatchNorm1d(4)), [torch.ones(1, 4)]) == ()


def test_differences_name_what_is_other_gone_and_new() -> None:
    assert list(differences({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"})) == ["b", "c", "d"]
