from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from exporters.base import Dim
from orchestrator.spec import CaseSpec, OutputSpec
from tests.verify import samples


def scaled(proto: onnx.ModelProto) -> None:
    bias = next(tensor for tensor in proto.graph.initializer if list(tensor.dims) == [5])
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * np.float32(1.001), bias.name))


def poisoned(proto: onnx.ModelProto) -> None:
    bias = next(tensor for tensor in proto.graph.initializer if list(tensor.dims) == [5])
    values = numpy_helper.to_array(bias).copy()
    values[3] = np.nan
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))


def test_a_weight_that_is_a_thousandth_off_fails_with_the_place(tmp_path: Path) -> None:
    found = samples.failing(samples.damaged(samples.pair(tmp_path), scaled))
    assert {"parity", "shapes"} <= found.keys()
    assert "scores on example: error" in found["parity"]
    assert "is above" in found["parity"]


def test_a_nan_fails_with_the_place(tmp_path: Path) -> None:
    found = samples.failing(samples.damaged(samples.pair(tmp_path), poisoned))
    assert "scores on example: NaN differs at [0, 3]" in found["parity"]


def test_an_output_that_proves_nothing_fails_and_says_what_to_do(tmp_path: Path) -> None:
    class Zero(torch.nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return left * 0 * right.sum()

    model = replace(samples.PAIR, outputs=samples.PAIR.outputs[:1])
    found = samples.failing(samples.make(tmp_path, Zero(), model))
    assert found.keys() == {"parity"}
    assert "output scores is 0.0 everywhere on all probes: it proves nothing" in found["parity"]


class Branch(torch.nn.Module):
    def forward(self, left: torch.Tensor) -> torch.Tensor:
        return left * 2 if bool(left.abs().mean() > 0.3) else left - 1


def test_a_frozen_branch_is_seen_on_the_case_that_reaches_the_other_side(tmp_path: Path) -> None:
    model = replace(
        samples.PAIR,
        dims={"batch": samples.PAIR.dims["batch"]},
        inputs=samples.PAIR.inputs[:1],
        outputs=samples.PAIR.outputs[:1],
    )
    quiet = CaseSpec(name="quiet", inputs=(replace(model.inputs[0], generator="uniform", range=(-0.1, 0.1)),))
    (tmp_path / "blind").mkdir()
    assert "parity" not in samples.failing(samples.make(tmp_path / "blind", Branch(), model))
    (tmp_path / "seeing").mkdir()
    found = samples.failing(samples.make(tmp_path / "seeing", Branch(), replace(model, cases=(quiet,))))
    assert "scores on case quiet: error" in found["parity"]


def test_a_users_tolerance_is_used(tmp_path: Path) -> None:
    loose = samples.damaged(samples.pair(tmp_path), scaled)
    outputs = (OutputSpec(name="scores", rtol=0.01, atol=0.01), samples.PAIR.outputs[1])
    assert {"parity", "shapes"}.isdisjoint(samples.failing(replace(loose, model=replace(loose.model, outputs=outputs))))


def test_an_artifact_that_does_not_load_fails_with_the_runtimes_words(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    (tmp_path / candidate.artifact.files[1].name).unlink()
    found = samples.failing(candidate)
    assert "does not load it" in found["parity"]


@pytest.mark.parametrize("name", ["batch", "width"])
def test_the_dimensions_of_the_sample_are_dynamic(name: str) -> None:
    assert isinstance(samples.PAIR.dims[name], Dim)
