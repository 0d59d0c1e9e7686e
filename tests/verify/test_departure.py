from __future__ import annotations

import numpy as np
import onnx
from onnx import parser

from orchestrator.verify.departure import Departure

GRAPH = """
agraph (float[2] x) => (float[2] answer)
{
   one = Constant <value_float = 1.0> ()
   added = Add (x, one)
   halved = Mul (added, added)
   answer = Neg (halved)
}
"""
ONE = np.ones((), np.float32)
X = np.array([1, 2], np.float32)


def departure(values: dict[str, np.ndarray], eager: list[np.ndarray]) -> Departure:
    graph: onnx.GraphProto = parser.parse_graph(GRAPH)
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
    return Departure(graph, values, eager, [eager[-1]], 1e-5)


def test_the_first_wrong_node_is_told_and_not_those_after_it() -> None:
    values = {"one": ONE, "added": X + 1, "halved": X + 7, "answer": -(X + 7)}
    found = departure(values, [X + 1, (X + 1) * 2, -(X + 1) * 2])
    node = found.first()
    assert node is not None
    assert node.name == "Mul_2"
    assert found.stale() is None
    assert found.missing() == 1


def test_a_node_of_which_eager_has_nothing_between_right_values_is_not_told() -> None:
    values = {"one": ONE, "added": X + 5, "halved": X + 7, "answer": -X}
    node = departure(values, [X + 7, X * 3]).first()
    assert node is not None
    assert node.name == "Neg_3"


def test_an_answer_that_eager_had_and_changed_is_stale() -> None:
    values = {"one": ONE, "added": X + 1, "halved": X + 2, "answer": -X}
    assert departure(values, [X + 1, -X, -X + 1]).stale() == 1


def test_nothing_wrong_has_no_first() -> None:
    values = {"one": ONE, "added": X + 1, "halved": X + 2, "answer": -X}
    assert departure(values, [X + 1, -X]).first() is None
