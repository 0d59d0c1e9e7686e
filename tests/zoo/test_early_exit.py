from __future__ import annotations

import pytest
import torch

from orchestrator.zoo.early_exit import EarlyExit


@pytest.fixture
def module() -> EarlyExit:
    torch.manual_seed(0)
    return EarlyExit(features=8, hidden=16, classes=4, threshold=0.25).eval()


LOUD, QUIET = torch.ones(3, 8), torch.full((3, 8), 0.1)


def paths(module: EarlyExit, signal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    hidden = torch.relu(module.stem(signal))
    return module.go_deep(hidden), module.exit_early(hidden)


def test_the_values_choose_the_path(module: EarlyExit) -> None:
    assert torch.equal(module(LOUD), paths(module, LOUD)[0])
    assert torch.equal(module(QUIET), paths(module, QUIET)[1])
    assert not torch.allclose(*paths(module, QUIET))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_torch_export_keeps_both_sides(module: EarlyExit) -> None:
    program = torch.export.export(module, (LOUD,)).module()
    for signal in (LOUD, QUIET):
        torch.testing.assert_close(program(signal), module(signal))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_script_keeps_both_sides_and_a_trace_does_not(module: EarlyExit) -> None:
    script = torch.jit.script(module)
    for signal in (LOUD, QUIET):
        torch.testing.assert_close(script(signal), module(signal))
    with pytest.warns(torch.jit.TracerWarning):
        trace = torch.jit.trace(module, (LOUD,))
    assert torch.equal(trace(QUIET), paths(module, QUIET)[0])
