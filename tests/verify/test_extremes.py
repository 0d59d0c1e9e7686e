from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from exporters.base import Dim, TensorSpec
from orchestrator.result import CheckStatus
from orchestrator.spec import OutputSpec
from orchestrator.verify import extremes
from orchestrator.verify.base import Candidate, Verdict
from tests.verify import samples

MODEL = replace(
    samples.PAIR,
    dims={"batch": Dim(name="batch", min=1, max=9)},
    inputs=(TensorSpec(name="values", shape=("batch", 8), dtype="float32"),),
    outputs=(OutputSpec(name="answer"),),
)


class Softmax(torch.nn.Linear):
    """Softmax over logits as large as the inputs."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return super().forward(values).softmax(1)


class Clamp(torch.nn.Linear):
    """A clamp right at the inputs."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return super().forward(values.clamp(-1, 1))


def judged(candidate: Candidate) -> Verdict:
    return extremes.check(samples.subject(candidate))


def other_epsilon(proto: onnx.ModelProto) -> None:
    (node,) = (node for node in proto.graph.node if node.op_type == "LayerNormalization")
    next(attribute for attribute in node.attribute if attribute.name == "epsilon").f = 1e-3


def unstable(proto: onnx.ModelProto) -> None:
    node = next(node for node in proto.graph.node if node.op_type == "Softmax")
    axes = numpy_helper.from_array(np.array([1]), "axes")
    proto.graph.initializer.append(axes)
    proto.graph.node.extend(
        [
            helper.make_node("Exp", [node.input[0]], ["e"]),
            helper.make_node("ReduceSum", ["e", "axes"], ["s"]),
            helper.make_node("Div", ["e", "s"], [node.output[0]]),
        ]
    )
    proto.graph.node.remove(node)


def drops_nan(proto: onnx.ModelProto) -> None:
    """Where a comparison with NaN is false, the lower end is taken."""
    clip = next(node for node in proto.graph.node if node.op_type == "Clip")
    place = list(proto.graph.node).index(clip)
    name, low, _ = clip.input
    proto.graph.node.insert(place, helper.make_node("GreaterOrEqual", [name, low], ["above"]))
    proto.graph.node.insert(place + 1, helper.make_node("Where", ["above", name, low], ["kept"]))
    clip.input[0] = "kept"


FAULTS: dict[str, tuple[Callable[[], torch.nn.Module], Callable[[onnx.ModelProto], Any], str]] = {
    "epsilon": (lambda: torch.nn.LayerNorm(8), other_epsilon, "answer on "),
    "unstable softmax": (lambda: Softmax(8, 5), unstable, "answer on large values: NaN differs"),
    "clamp": (lambda: Clamp(8, 5), drops_nan, "answer on NaN and Inf: NaN differs"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_graph_that_is_wrong_at_an_edge_fails_and_the_clean_one_passes(tmp_path: Path, fault: str) -> None:
    factory, edit, told = FAULTS[fault]
    good = samples.make(tmp_path, samples.seeded(factory), MODEL)
    verdict = judged(good)
    assert verdict.check.status is CheckStatus.PASSED, verdict.check.detail
    assert verdict.findings == ()
    bad = judged(samples.damaged(good, edit)).check
    assert bad.status is CheckStatus.FAILED
    assert told in bad.detail


def test_a_nan_that_only_the_runtime_loses_is_a_finding(tmp_path: Path) -> None:
    class Recurrent(torch.nn.LSTM):
        def forward(self, values: torch.Tensor) -> Any:  # type: ignore[override]
            return super().forward(values[None])[0]

    verdict = judged(samples.make(tmp_path, samples.seeded(lambda: Recurrent(8, 4)), MODEL))
    assert verdict.check.status is CheckStatus.PASSED
    assert [finding.kind for finding in verdict.findings] == ["runtime_not_finite"]


def test_where_eager_overflows_alone_nothing_is_compared(tmp_path: Path) -> None:
    class Powers(torch.nn.Linear):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return super().forward(values) ** 11

    check = judged(samples.make(tmp_path, samples.seeded(lambda: Powers(8, 3)), MODEL)).check
    assert check.status is CheckStatus.PASSED
    assert check.detail.startswith("3 comparisons")


def test_an_input_without_edges_is_not_applicable(tmp_path: Path) -> None:
    mask = TensorSpec(name="values", shape=("batch", 8), dtype="int64", generator="mask")

    class Summed(torch.nn.Linear):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return super().forward(values.float())

    check = judged(samples.make(tmp_path, samples.seeded(lambda: Summed(8, 3)), replace(MODEL, inputs=(mask,)))).check
    assert check.status is CheckStatus.NOT_APPLICABLE


def test_an_integer_output_is_compared_where_eager_agrees_with_float64(tmp_path: Path) -> None:
    class Best(torch.nn.Linear):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return super().forward(values).argmax(1)

    good = samples.make(tmp_path, samples.seeded(lambda: Best(8, 5)), MODEL)
    assert judged(good).check.status is CheckStatus.PASSED

    def smallest(proto: onnx.ModelProto) -> None:
        next(node for node in proto.graph.node if node.op_type == "ArgMax").op_type = "ArgMin"

    assert judged(samples.damaged(good, smallest)).check.status is CheckStatus.FAILED
