from __future__ import annotations

from collections.abc import Sequence

import onnx
import pytest
import torch
from onnx import helper

from orchestrator.verify.placement import Placed, swapped
from orchestrator.verify.uses import Constant


def placed(**after: Sequence[str]) -> dict[str, Placed]:
    """Weights of one shape, each with those that come before it in the model."""
    bits = {name: 1 << number for number, name in enumerate(after)}
    found = {}
    for name, before in after.items():
        constant = Constant(name=f"model.{name}", tensor=torch.zeros(2, 2), bits=bits[name])
        constant.before.append(sum(bits[other] for other in before))
        found[name] = Placed(is_=constant, stands_for=bits[name], shape=(2, 2))
    return found


def model(*nodes: onnx.NodeProto, weights: str = "abc") -> onnx.ModelProto:
    tensors = [helper.make_tensor(name, onnx.TensorProto.FLOAT, [2, 2], [0.0] * 4) for name in weights]
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 2])
    return helper.make_model(helper.make_graph(nodes, "graph", [value], [value], initializer=tensors))


def chain(*weights: str) -> list[onnx.NodeProto]:
    values = ["x", *(f"after_{weight}" for weight in weights)]
    return [
        helper.make_node("MatMul", [value, weight], [after])
        for value, weight, after in zip(values, weights, values[1:], strict=False)
    ]


CHAIN = placed(a=[], b=["a"], c=["a", "b"])


def test_a_chain_in_the_models_order_is_right() -> None:
    assert list(swapped(CHAIN, model(*chain("a", "b", "c")))) == []


@pytest.mark.parametrize("order", ["bac", "acb", "cba"])
def test_two_that_changed_places_are_told(order: str) -> None:
    (problem,) = swapped(CHAIN, model(*chain(*order)))
    moved = [name for name, expected in zip(order, "abc", strict=True) if name != expected]
    assert all(f"model.{name}" in problem for name in moved)


def test_branches_that_are_alike_are_not_told_apart() -> None:
    alike = placed(a=[], b=[], c=["a", "b"])
    for one, other in ("ab", "ba"):
        nodes = [
            helper.make_node("MatMul", ["x", one], ["left"]),
            helper.make_node("MatMul", ["x", other], ["right"]),
            helper.make_node("MatMul", ["left", "right"], ["scores"]),
            helper.make_node("MatMul", ["scores", "c"], ["y"]),
        ]
        assert list(swapped(alike, model(*nodes))) == []


def test_a_size_carries_no_values() -> None:
    nodes = chain("a")
    nodes += [helper.make_node("Shape", ["after_a"], ["size"]), helper.make_node("Expand", ["b", "size"], ["wide"])]
    assert list(swapped(placed(a=[], b=[]), model(*nodes, weights="ab"))) == []


def test_a_branch_sees_what_came_before_it() -> None:
    for inner, outer, problems in (("b", "a", 0), ("a", "b", 1)):
        then = helper.make_graph(
            [helper.make_node("MatMul", [f"after_{outer}", inner], ["out"])],
            "then",
            [],
            [helper.make_tensor_value_info("out", 1, None)],
        )
        other = helper.make_graph(
            [helper.make_node("Identity", [f"after_{outer}"], ["same"])],
            "else",
            [],
            [helper.make_tensor_value_info("same", 1, None)],
        )
        nodes = [*chain(outer), helper.make_node("If", ["x"], ["chosen"], then_branch=then, else_branch=other)]
        nodes.append(helper.make_node("MatMul", ["chosen", "c"], ["y"]))
        assert len(list(swapped(CHAIN, model(*nodes)))) == problems


def test_a_place_that_no_exchange_explains_is_no_alarm() -> None:
    nodes = [helper.make_node("MatMul", ["x", name], [f"after_{name}"]) for name in "abc"]
    assert list(swapped(CHAIN, model(*nodes))) == []
