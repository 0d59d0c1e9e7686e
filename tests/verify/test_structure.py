from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from onnx import helper

from tests.verify import samples

Edit = Callable[[onnx.ModelProto], object]


def with_node(*arguments: object, **attributes: object) -> Edit:
    return lambda proto: proto.graph.node.append(helper.make_node(*arguments, **attributes))  # type: ignore[arg-type]


def train_the_dropout(proto: onnx.ModelProto) -> None:
    proto.graph.initializer.append(helper.make_tensor("ratio", onnx.TensorProto.FLOAT, [], [0.5]))
    proto.graph.initializer.append(helper.make_tensor("training", onnx.TensorProto.BOOL, [], [True]))
    proto.graph.node.append(helper.make_node("Dropout", ["left", "ratio", "training"], ["dropped"], name="drop"))


def hide_the_mode(proto: onnx.ModelProto) -> None:
    train_the_dropout(proto)
    proto.graph.node.insert(0, helper.make_node("Identity", ["training"], ["mode"]))
    proto.graph.node[-1].input[2] = "mode"


def train_the_normalization(proto: onnx.ModelProto) -> None:
    for name in ("scale", "shift", "mean", "variance"):
        proto.graph.initializer.append(helper.make_tensor(name, onnx.TensorProto.FLOAT, [16], [1.0] * 16))
    inputs, outputs = ["left", "scale", "shift", "mean", "variance"], ["normal", "new_mean", "new_variance"]
    proto.graph.node.append(helper.make_node("BatchNormalization", inputs, outputs, name="norm", training_mode=1))


def raise_the_opset(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 21


def hide_in_a_branch(proto: onnx.ModelProto) -> None:
    def branch(op: str) -> onnx.GraphProto:
        value = helper.make_tensor_value_info(f"{op}_out", onnx.TensorProto.FLOAT, None)
        node = helper.make_node(op, [], [f"{op}_out"], name=op, shape=[2]) if op == "RandomNormal" else None
        zero = helper.make_node("Constant", [], [f"{op}_out"], value_floats=[0.0, 0.0])
        return helper.make_graph([node or zero], op, [], [value])

    proto.graph.initializer.append(helper.make_tensor("yes", onnx.TensorProto.BOOL, [], [True]))
    branches = {"then_branch": branch("RandomNormal"), "else_branch": branch("Constant")}
    proto.graph.node.append(helper.make_node("If", ["yes"], ["chosen"], **branches))


def train_the_normalization_of_opset_9(proto: onnx.ModelProto) -> None:
    train_the_normalization(proto)
    proto.opset_import[0].version = 9
    node = proto.graph.node[-1]
    node.ClearField("attribute")
    node.output.extend(["saved_mean", "saved_variance"])


def train_in_a_branch(proto: onnx.ModelProto) -> None:
    hide_in_a_branch(proto)
    branch = next(attribute.g for attribute in proto.graph.node[-1].attribute if attribute.name == "else_branch")
    branch.initializer.append(helper.make_tensor("half", onnx.TensorProto.FLOAT, [], [0.5]))
    branch.initializer.append(helper.make_tensor("learning", onnx.TensorProto.BOOL, [], [True]))
    branch.node.append(helper.make_node("Dropout", ["left", "half", "learning"], ["dropped"], name="hidden"))


DAMAGES: dict[str, tuple[Edit, str]] = {
    "another opset than asked for": (raise_the_opset, "asked for opset 20, the file is opset 21"),
    "an IR version of the future": (lambda proto: setattr(proto, "ir_version", 99), "IR version 99"),
    "an unknown domain": (with_node("Fast", ["left"], ["fast"], domain="com.example"), "domain com.example"),
    "a dangling value": (with_node("Relu", ["nowhere"], ["somewhere"]), "checker"),
    "a missing initializer": (lambda proto: proto.graph.initializer.pop(), "checker"),
    "a dropout that trains": (train_the_dropout, "drop is a Dropout in training mode"),
    "a dropout whose mode is computed": (hide_the_mode, "drop is a Dropout in training mode"),
    "a normalization that trains": (train_the_normalization, "norm is a BatchNormalization in training mode"),
    "a normalization that trains at an old opset": (
        train_the_normalization_of_opset_9,
        "norm is a BatchNormalization in training mode",
    ),
    "a dropout that trains in a branch": (train_in_a_branch, "hidden is a Dropout in training mode"),
    "a random operator without a name": (with_node("RandomNormal", [], ["noise"], shape=[2]), "noise is a RandomNormal"),
    "a random operator": (with_node("RandomNormal", [], ["noise"], name="dice", shape=[2]), "dice is a RandomNormal"),
    "a random operator in a branch": (hide_in_a_branch, "RandomNormal is a RandomNormal"),
    "no such operator": (with_node("NoSuchOperator", ["left"], ["x"]), "checker"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_does_not_belong_into_an_artifact_fails(tmp_path: Path, damage: str) -> None:
    edit, word = DAMAGES[damage]
    assert word in samples.failing(samples.damaged(samples.pair(tmp_path), edit))["structure"]


def test_training_mode_is_allowed_where_it_is_declared(tmp_path: Path) -> None:
    candidate = samples.damaged(samples.pair(tmp_path), train_the_dropout)
    training = replace(candidate, model=replace(candidate.model, mode="train"))
    assert "structure" not in samples.failing(training)


def test_a_dropout_that_is_switched_off_is_none(tmp_path: Path) -> None:
    def off(proto: onnx.ModelProto) -> None:
        train_the_dropout(proto)
        proto.graph.initializer[-1].CopyFrom(helper.make_tensor("training", onnx.TensorProto.BOOL, [], [False]))

    assert samples.failing(samples.damaged(samples.pair(tmp_path), off)) == {}


def test_the_models_line_is_told_where_it_is_known(tmp_path: Path) -> None:
    candidate = replace(
        samples.damaged(samples.pair(tmp_path), train_the_dropout), sources={"drop": "zoo/model.py:7 in forward"}
    )
    said = samples.failing(candidate)["structure"]
    assert "drop is a Dropout in training mode (at zoo/model.py:7 in forward)" in said


def test_a_normalisation_of_a_constant_is_how_weights_are_standardised(tmp_path: Path) -> None:
    class Standardised(torch.nn.Linear):
        """As timm's ScaledStdConv2d does in any mode."""

        def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            rows = torch.nn.functional.batch_norm(self.weight[None], None, None, training=True)
            scores = torch.nn.functional.linear(left, rows[0], self.bias) + right.sum(1, keepdim=True)
            return scores, scores.argmax(1)

    good = samples.make(tmp_path, samples.seeded(lambda: Standardised(16, 5)), samples.PAIR)
    assert "structure" not in samples.failing(good)

    def of_an_input(proto: onnx.ModelProto) -> None:
        node = next(node for node in proto.graph.node if node.op_type == "BatchNormalization")
        node.input[0] = "left"

    assert "in training mode" in samples.failing(samples.damaged(good, of_an_input))["structure"]
