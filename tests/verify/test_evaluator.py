from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from orchestrator.spec import Target
from orchestrator.verify.base import REFERENCE_EVALUATOR, ArtifactError
from orchestrator.verify.evaluator import Evaluator
from tests.verify import samples

REFERENCE = Target(name="reference", device="cpu", provider=REFERENCE_EVALUATOR)


def test_it_answers_in_the_artifacts_order_and_ignores_inputs_that_it_has_not(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    inputs = {**candidate.reference.example.inputs, "unknown": np.zeros(1)}
    scores, best = Evaluator(candidate.path)(inputs)
    assert (scores.shape, best.shape) == ((2, 5), (2,))


def test_weights_are_found_beside_the_graph_wherever_the_process_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = samples.pair(tmp_path / "artifact")
    assert len(candidate.artifact.files) == 2
    monkeypatch.chdir(tmp_path)
    assert samples.failing(replace(candidate, target=REFERENCE)) == {}


def test_the_runtime_check_says_where_it_ran(tmp_path: Path) -> None:
    runtime = samples.verdicts(replace(samples.pair(tmp_path), target=REFERENCE))["runtime"]
    assert runtime.detail == "ReferenceEvaluator ran it"


def test_what_does_not_load_or_run_is_the_artifacts_fault_in_one_line(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    with pytest.raises(ArtifactError, match="the ONNX reference evaluator fails on it") as failed:
        Evaluator(candidate.path)({"left": np.zeros((2, 3), np.float32)})
    assert "\n" not in str(failed.value)
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    bad = Evaluator(tmp_path / "bad.onnx")
    for ask in (bad.providers, functools.partial(bad, {})):
        with pytest.raises(ArtifactError, match="does not load it"):
            ask()


@pytest.mark.parametrize(
    ("dtype", "exporter"), [("float16", "dynamo"), ("float16", "torchscript"), ("bfloat16", "torchscript")]
)
def test_half_precision_is_judged(dtype: str, exporter: str, tmp_path: Path) -> None:
    module = samples.seeded(samples.Pair).to(getattr(torch, dtype))
    candidate = replace(samples.make(tmp_path, module, samples.PAIR, exporter, dtype=dtype), target=REFERENCE)
    assert samples.failing(candidate) == {}
    wrong = samples.damaged(candidate, _negate_the_bias)
    assert "parity" in samples.failing(wrong)


def test_a_max_pool_keeps_nan_where_that_is_asked_for(tmp_path: Path) -> None:
    value = functools.partial(onnx.helper.make_tensor_value_info, elem_type=onnx.TensorProto.FLOAT)
    nodes = [onnx.helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2])]
    graph = onnx.helper.make_graph(nodes, "pool", [value("x", shape=[1, 1, 4])], [value("y", shape=[1, 1, 3])])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)]), tmp_path / "pool.onnx")
    inputs = {"x": np.array([[[1, np.nan, -3, -2]]], np.float32)}
    (kept,) = Evaluator(tmp_path / "pool.onnx", keeps_nan=True)(inputs)
    assert np.array_equal(kept, np.array([[[np.nan, np.nan, -2]]], np.float32), equal_nan=True)
    (dropped,) = Evaluator(tmp_path / "pool.onnx")(inputs)
    assert not np.isnan(dropped).any()


def test_onnx_runtime_on_a_cpu_says_that_it_has_no_bfloat16(tmp_path: Path) -> None:
    module = samples.seeded(samples.Pair).bfloat16()
    candidate = samples.make(tmp_path, module, samples.PAIR, dtype="bfloat16")
    reasons = samples.failing(candidate)
    assert "its CPU provider has no bfloat16 kernels, and target=reference judges it" in reasons["parity"]


def test_an_ir_version_that_onnx_runtime_does_not_read_is_no_fault_here(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    newest = samples.damaged(candidate, lambda proto: setattr(proto, "ir_version", onnx.IR_VERSION))
    assert samples.failing(replace(newest, target=REFERENCE)) == {}


def _negate_the_bias(proto: onnx.ModelProto) -> None:
    (bias,) = (tensor for tensor in proto.graph.initializer if list(tensor.dims) == [5])
    values = onnx.numpy_helper.to_array(bias)
    bias.CopyFrom(onnx.numpy_helper.from_array(-values - 1, bias.name))
