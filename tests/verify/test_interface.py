from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from exporters.base import Dim
from tests.verify import samples

Edit = Callable[[onnx.ModelProto], object]


def rename(values: str, old: str, new: str) -> Edit:
    def edit(proto: onnx.ModelProto) -> None:
        for value in getattr(proto.graph, values):
            value.name = new if value.name == old else value.name
        for node in proto.graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]

    return edit


def swap(values: str) -> Edit:
    def edit(proto: onnx.ModelProto) -> None:
        found = getattr(proto.graph, values)
        first, second = (onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in found)
        found[0].CopyFrom(second)
        found[1].CopyFrom(first)

    return edit


def dimension(values: str, axis: int, size: int | str) -> Edit:
    def edit(proto: onnx.ModelProto) -> None:
        dim = getattr(proto.graph, values)[0].type.tensor_type.shape.dim[axis]
        dim.Clear()
        setattr(dim, "dim_value" if isinstance(size, int) else "dim_param", size)

    return edit


def drop_an_output(proto: onnx.ModelProto) -> None:
    proto.graph.output.pop()


def cast_best_to_int32(proto: onnx.ModelProto) -> None:
    rename("value_info", "best", "wide")(proto)
    proto.graph.node.append(onnx.helper.make_node("Cast", ["wide"], ["best"], to=onnx.TensorProto.INT32))
    proto.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.INT32


def keep_an_axis(proto: onnx.ModelProto) -> None:
    rename("value_info", "best", "flat")(proto)
    proto.graph.initializer.append(onnx.helper.make_tensor("last", onnx.TensorProto.INT64, [1], [1]))
    proto.graph.node.append(onnx.helper.make_node("Unsqueeze", ["flat", "last"], ["best"]))
    proto.graph.output[1].type.tensor_type.shape.dim.add().dim_value = 1


DAMAGES: dict[str, tuple[Edit, str]] = {
    "an output renamed": (rename("output", "best", "worst"), "output best is not in the artifact"),
    "an input renamed": (rename("input", "left", "links"), "input left is not in the artifact"),
    "an output dropped": (drop_an_output, "output best is not in the artifact"),
    "outputs swapped": (swap("output"), "outputs come as best, scores instead of scores, best"),
    "inputs swapped": (swap("input"), "inputs come as right, left instead of left, right"),
    "an output of another dtype": (cast_best_to_int32, "output best is int32 instead of int64"),
    "an output of another rank": (keep_an_axis, "output best has rank 2 instead of 1"),
    "the batch baked into the input": (dimension("input", 0, 2), "input left has shape [2, 16] instead of [batch, 16]"),
    "two symbols made equal": (dimension("input", 1, "batch"), "input left has shape [batch, batch]"),
    "an output axis that lies": (dimension("output", 1, 6), "output scores declares 6 on axis 1 and answers with 5"),
    "an output symbol that lies": (dimension("output", 0, "width"), "output scores declares width on axis 0"),
    "the batch baked into the output": (dimension("output", 0, 2), "output scores has 2 on axis 0 baked in"),
    "and where it comes from": (dimension("output", 0, 2), "; it comes from tests/verify/samples.py:"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_another_interface_than_declared_fails(tmp_path: Path, damage: str) -> None:
    edit, word = DAMAGES[damage]
    assert word in samples.failing(samples.damaged(samples.pair(tmp_path), edit))["interface"]


@pytest.mark.parametrize(
    ("ranges", "word"),
    [
        ({"batch": (1, 4), "width": (1, None)}, "dimension batch is narrowed to 1 to 4, asked for 1 to 16"),
        ({"batch": (2, 16), "width": (1, None)}, "dimension batch is narrowed to 2 to 16"),
        ({"batch": (1, 16), "width": (1, 64)}, "dimension width is narrowed to 1 to 64, asked for 1 to any size"),
        ({"batch": (2, 2), "width": (1, None)}, "dimension batch is baked in as 2"),
        ({"batch": (1, 16)}, "dimension width is not among those that the capture knows: batch"),
        ({"batch": (1, 16), "width": (1, None)}, None),
        ({"batch": (0, None), "width": (0, None)}, None),
        (None, None),
    ],
)
def test_the_sizes_that_the_capture_admits_must_cover_those_that_were_asked_for(
    tmp_path: Path, ranges: Mapping[str, tuple[int, int | None]] | None, word: str | None
) -> None:
    candidate = samples.pair(tmp_path)
    found = samples.failing(replace(candidate, artifact=replace(candidate.artifact, ranges=ranges)))
    assert (word is None and found == {}) or (word is not None and word in found["interface"])


class Guarded(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.shape[0] > 3 else x - 1


class Ignores(torch.nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return left * 2


def test_a_branch_on_a_size_narrows_the_range_of_dynamo_without_a_word(tmp_path: Path) -> None:
    model = replace(
        samples.PAIR,
        dims={"batch": Dim(name="batch", min=1, max=16)},
        inputs=(replace(samples.PAIR.inputs[0], name="x"),),
        outputs=samples.PAIR.outputs[:1],
    )
    found = samples.failing(samples.make(tmp_path, Guarded(), model, "dynamo"))
    assert "dimension batch is narrowed to" in found["interface"]
    assert "asked for 1 to 16" in found["interface"]


def test_an_input_that_a_trace_drops_is_missed(tmp_path: Path) -> None:
    model = replace(samples.PAIR, outputs=samples.PAIR.outputs[:1])
    found = samples.failing(samples.make(tmp_path, Ignores(), model))
    assert "input right is not in the artifact, which has left" in found["interface"]


def test_a_dimension_of_one_size_is_not_baked_in(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    one_size = {**candidate.model.dims, "batch": Dim(name="batch", min=2, max=2)}
    artifact = replace(candidate.artifact, ranges={"batch": (2, 2), "width": (1, None)})
    found = samples.failing(replace(candidate, artifact=artifact, model=replace(candidate.model, dims=one_size)))
    assert found == {}


def test_what_is_wrong_with_the_declaration_is_told_of_a_file_that_does_not_load_too(tmp_path: Path) -> None:
    def edit(proto: onnx.ModelProto) -> None:
        dimension("input", 0, 2)(proto)
        proto.graph.node.append(onnx.helper.make_node("Fast", ["left"], ["fast"], domain="com.example"))

    found = samples.failing(samples.damaged(samples.pair(tmp_path), edit))
    assert "input left has shape [2, 16] instead of [batch, 16]" in found["interface"]
    assert "does not load it" in found["parity"]


def test_an_output_of_another_floating_type_fails(tmp_path: Path) -> None:
    def edit(proto: onnx.ModelProto) -> None:
        rename("value_info", "scores", "narrow_scores")(proto)
        proto.graph.node.append(onnx.helper.make_node("Cast", ["narrow_scores"], ["scores"], to=onnx.TensorProto.DOUBLE))
        proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE

    found = samples.failing(samples.damaged(samples.pair(tmp_path), edit))
    assert "output scores is float64 instead of float32" in found["interface"]
    assert "dtype float64 instead of float32" in found["parity"]


def test_an_initializer_that_is_also_an_input_fails(tmp_path: Path) -> None:
    def edit(proto: onnx.ModelProto) -> None:
        bias = next(tensor for tensor in proto.graph.initializer if list(tensor.dims) == [5])
        proto.graph.input.append(onnx.helper.make_tensor_value_info(bias.name, onnx.TensorProto.FLOAT, [5]))

    assert "is in the artifact and not declared" in samples.failing(samples.damaged(samples.pair(tmp_path), edit))["interface"]


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_initializers_that_are_inputs_because_that_was_asked_for_are_no_fault(exporter: str, tmp_path: Path) -> None:
    module = samples.seeded(samples.Pair)
    candidate = samples.make(tmp_path, module, samples.PAIR, exporter, keep_initializers_as_inputs=True)
    assert len(candidate.artifact.inputs) > len(samples.PAIR.inputs)
    assert samples.failing(candidate) == {}
