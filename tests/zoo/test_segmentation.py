from __future__ import annotations

import pytest
import torch

from orchestrator.zoo.segmentation import UNet


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 13), (16, 11)])
def test_every_pixel_is_labelled_whatever_the_size(height: int, width: int) -> None:
    answer = UNet(channels=3, width=4, depth=3, classes=5)(torch.zeros(2, 3, height, width))
    assert answer.shape == (2, 5, height, width)


def test_the_deepest_level_and_the_first_both_reach_the_answer() -> None:
    module = UNet(channels=1, width=4, depth=3, classes=2)
    module(torch.rand(1, 1, 8, 8)).sum().backward()
    gradients = [block[0].weight.grad for block in (module.encoder[0], module.encoder[2], module.decoder[1])]
    assert all(gradient is not None and bool(gradient.abs().sum() > 0) for gradient in gradients)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_it_compiles_as_a_script_that_answers_the_same() -> None:
    module = UNet(channels=3, width=4, depth=3, classes=5).eval()
    image = torch.rand(1, 3, 9, 14)
    torch.testing.assert_close(torch.jit.script(module)(image), module(image))
