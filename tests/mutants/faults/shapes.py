"""Sizes of the example that became constants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import onnx_ir as ir

from orchestrator.verify.session import run_unoptimised
from tests.mutants.work import Fault, Place, Work, constant_of

CHECK = "shapes"
MASKS = ("LessOrEqual", "Less", "Greater", "GreaterOrEqual", "Trilu", "ConstantOfShape", "Expand")
"""Operators that make masks of sizes."""


def of_sizes(work: Work) -> set[ir.Value]:
    """Values of the main graph that depend on the inputs' sizes and on none of their values."""
    known: dict[ir.Value, bool] = {}
    for node in work.model.graph:
        if node.op_type in ("Shape", "Size"):
            sizes = constant_of(node.inputs[0]) is None
        else:
            taken = [value for value in node.inputs if value is not None and constant_of(value) is None]
            sizes = bool(taken) and all(known.get(value, False) for value in taken) and node.op_type != "If"
        known.update(dict.fromkeys(node.outputs, sizes))
    return {value for value, sizes in known.items() if sizes}


def _inputs_of(*wanted: tuple[str, int]) -> Callable[[Work], Iterator[Place]]:
    def places(work: Work) -> Iterator[Place]:
        sized = of_sizes(work)
        for node in work.nodes(*{kind for kind, _ in wanted}):
            for index, value in enumerate(node.inputs):
                if (node.op_type, index) in wanted and value in sized:
                    yield Place(where=f"{node.name}", damage=partial(_bake_input, work, node, index))

    return places


def _outputs_of(*types: str) -> Callable[[Work], Iterator[Place]]:
    def places(work: Work) -> Iterator[Place]:
        sized = of_sizes(work)
        for node in work.nodes(*types):
            if node.outputs[0] in sized and not node.outputs[0].is_graph_output():
                yield Place(where=str(node.name), damage=partial(_bake_output, work, node.outputs[0]))

    return places


def _bake_input(work: Work, node: ir.Node, index: int) -> None:
    value = node.inputs[index]
    assert value is not None
    node.replace_input_with(index, work.initializer("baked", _on_example(work, value)))


def _bake_output(work: Work, value: ir.Value) -> None:
    uses, baked = list(value.uses()), work.initializer("baked", _on_example(work, value))
    for node, index in uses:
        node.replace_input_with(index, baked)


def _on_example(work: Work, value: ir.Value) -> np.ndarray:
    """What the good artifact computes there."""
    probe = ir.load(work.candidate.path)
    found = next(output for node in probe.graph for output in node.outputs if output.name == value.name)
    # The runtime wants to know a type, and the graph need not.
    compares = found.producer().op_type in ("LessOrEqual", "Less", "Greater", "GreaterOrEqual")
    found.type = found.type or ir.TensorType(ir.DataType.BOOL if compares else ir.DataType.INT64)
    probe.graph.outputs.append(found)
    inputs = work.candidate.reference.example.inputs
    answers = run_unoptimised(ir.to_proto(probe).SerializeToString(), work.folder, inputs)
    return np.asarray(answers[str(found.name)])


FAULTS = (
    Fault(
        name="size baked into a reshape or expand",
        check=CHECK,
        numeric=True,
        places=_inputs_of(("Reshape", 1), ("Expand", 1), ("ConstantOfShape", 0)),
    ),
    Fault(name="constant arange", check=CHECK, numeric=True, places=_outputs_of("Range")),
    Fault(name="constant mask", check=CHECK, numeric=True, places=_outputs_of(*MASKS)),
    Fault(name="loop count frozen", check=CHECK, numeric=True, places=_inputs_of(("Loop", 0))),
    Fault(name="slice by a frozen size", check=CHECK, numeric=True, places=_inputs_of(("Slice", 1), ("Slice", 2))),
)
