from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from orchestrator.verify import intermediates
from tests.verify import samples


def test_what_is_written_in_place_later_is_kept_as_it_was() -> None:
    class Module(torch.nn.Module):
        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            doubled = signal * 2
            return doubled.add_(1)

    doubled, added = intermediates.of_eager(Module(), {"signal": torch.ones(2)})
    assert (doubled.values.tolist(), doubled.in_place) == ([2, 2], False)
    assert (added.values.tolist(), added.in_place) == ([3, 3], True)


def test_every_value_of_an_artifact_can_be_seen_with_its_weights_outside(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    proto = onnx.load(candidate.path, load_external_data=False)
    before = proto.SerializeToString()
    example = candidate.reference.example
    values = intermediates.of_artifact(proto, candidate.folder, example.inputs)
    assert {name for node in proto.graph.node for name in node.output} <= values.keys()
    np.testing.assert_allclose(values["scores"], example.outputs[0], rtol=1e-4, atol=1e-5)
    assert proto.SerializeToString() == before


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intermediates, "LIMIT", 2**20)
    with pytest.raises(intermediates.TooLargeError, match="take more than 1 MiB"):
        intermediates.of_eager(torch.nn.ReLU(), {"signal": torch.ones(2**19)})
