"""Changes that nobody would call a fault: the verifier must say yes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx_ir as ir

from tests.mutants.work import Fault, Place, Work, insert_after


def _reorder(work: Work) -> None:
    """Another order in which every node still comes after what it takes."""
    graph = work.model.graph
    waiting, done, order = list(graph), set[ir.Value](), list[ir.Node]()
    made = {value for node in waiting for value in node.outputs}
    while waiting:
        ready = [node for node in waiting if _needs(node) & made <= done]
        node = work.random.choice(ready)
        waiting.remove(node)
        order.append(node)
        done |= set(node.outputs)
    graph.remove(order)
    graph.extend(order)


def _needs(node: ir.Node) -> set[ir.Value]:
    inner = [
        value
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.GRAPH
        for part in ir.traversal.RecursiveGraphIterator(attribute.as_graph())
        for value in part.inputs
    ]
    inner += [
        value
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.GRAPH
        for value in attribute.as_graph().outputs
    ]
    return {value for value in (*node.inputs, *inner) if value is not None}


def _rename_inner(work: Work) -> None:
    kept = {*work.model.graph.outputs}
    number = 0
    for graph in work.model.graphs():
        for node in graph:
            node.name = f"n{number}"
            for value in node.outputs:
                if value.name and value not in kept and not value.is_graph_output():
                    value.name = f"v{number}"
                number += 1


def _rename_weights(work: Work) -> None:
    for number, value in enumerate(work.initializers()):
        value.name = f"w{number}"


def _document(work: Work) -> None:
    work.model.doc_string = "Reviewed by a person."
    work.model.graph.doc_string = "The graph."
    for node in work.model.graph:
        node.doc_string = "A node."


def _describe(work: Work) -> None:
    work.model.metadata_props["team"] = "vision"
    work.model.producer_name, work.model.producer_version = "somebody else", "1"
    for node in work.model.graph:
        node.metadata_props["note"] = "x"


def _forget_shapes(work: Work) -> None:
    for node in work.model.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
                value.type = None


def _shuffle_weights(work: Work) -> None:
    initializers = work.model.graph.initializers
    values = list(initializers.values())
    work.random.shuffle(values)
    initializers.clear()
    for value in values:
        work.model.graph.register_initializer(value)


def _pass_through(work: Work) -> None:
    inner = [node.outputs[0] for node in work.model.graph if not node.outputs[0].is_graph_output()]
    for value in work.random.sample(inner, min(3, len(inner))):
        insert_after(value, ir.node("Identity", [value]))


def _double(work: Work) -> None:
    """A weight that several nodes share becomes one for each."""
    for value in work.initializers():
        for number, (node, index) in enumerate(list(value.uses())[1:]):
            assert value.const_value is not None
            node.replace_input_with(index, work.initializer(f"{value.name}_{number}", value.const_value.numpy().copy()))


def _to_nodes(work: Work) -> None:
    """Small initializers of the graph as Constant nodes."""
    graph = work.model.graph
    for name, value in list(graph.initializers.items()):
        if value.const_value is not None and value.const_value.nbytes < 4096 and not value.is_graph_output():
            node = ir.node("Constant", [], {"value": ir.tensor(value.const_value.numpy().copy())})
            node.outputs[0].name = f"{name}_constant"
            graph.insert_before(graph[0], node)
            for user, index in list(value.uses()):
                user.replace_input_with(index, node.outputs[0])
            del graph.initializers[name]


def _fold(work: Work) -> None:
    """Constant nodes as initializers."""
    for node in work.nodes("Constant"):
        value, graph = node.outputs[0], node.graph
        held = ir.convenience.get_const_tensor(value)
        if held is not None and graph is work.model.graph and not value.is_graph_output():
            new = work.initializer(f"{value.name}_folded", held.numpy().copy())
            for user, index in list(value.uses()):
                user.replace_input_with(index, new)
            graph.remove(node)


def _embed(work: Work) -> None:
    """All weights in the graph file."""
    for value in work.initializers():
        assert value.const_value is not None
        value.const_value = ir.tensor(value.const_value.numpy().copy(), name=value.name)
    files = work.candidate.artifact.files[:1]
    work.candidate = work.with_files([file.name for file in files])


def _repack(work: Work) -> None:
    """The data file laid out again: a gap in front, tensors in another order."""
    path = work.data
    assert path
    values = [value for value in work.initializers() if isinstance(value.const_value, ir.ExternalTensor)]
    held = [(value, value.const_value.numpy().copy()) for value in reversed(values) if value.const_value is not None]
    data = bytearray(64)
    for value, array in held:
        offset, name = len(data), path.name
        data += array.tobytes()
        dtype = ir.DataType.from_numpy(array.dtype)
        value.const_value = ir.ExternalTensor(
            name, offset, array.nbytes, dtype, shape=ir.Shape(array.shape), name=value.name or "", base_dir=work.folder
        )
    path.write_bytes(data)


def _move_stamps(work: Work) -> None:
    work.model.model_version = 7
    work.model.graph.name = "somebody_elses_graph"


def _unused(work: Work) -> None:
    """A node that nobody asks."""
    value = work.model.graph.inputs[0]
    node = ir.node("Identity", [value])
    node.outputs[0].name = "unused"
    work.model.graph.append(node)


def _back_and_forth(work: Work) -> None:
    """A value that is turned and turned back."""
    floats = [node.outputs[0] for node in work.nodes("Gemm", "MatMul") if node.outputs[0].shape is not None]
    for value in floats[:1]:
        rank = len(value.shape or ())
        order = list(np.roll(range(rank), 1))
        back = list(np.argsort(order))
        turned = ir.node("Transpose", [value], {"perm": [int(axis) for axis in order]})
        insert_after(value, turned, ir.node("Transpose", [turned.outputs[0]], {"perm": [int(axis) for axis in back]}))


_ALWAYS = {
    "nodes reordered": _reorder,
    "inner values renamed": _rename_inner,
    "weights renamed": _rename_weights,
    "doc strings added": _document,
    "metadata added": _describe,
    "inner shapes forgotten": _forget_shapes,
    "initializers shuffled": _shuffle_weights,
    "identities inserted": _pass_through,
    "shared constants doubled": _double,
    "initializers as Constant nodes": _to_nodes,
    "Constant nodes folded": _fold,
    "weights embedded": _embed,
    "model version and graph name": _move_stamps,
    "a node that nobody asks": _unused,
    "turned and turned back": _back_and_forth,
}


def _anywhere(work: Work, name: str) -> Iterator[Place]:
    yield Place(where="", damage=partial(_ALWAYS[name], work))


def _where_data_is(work: Work) -> Iterator[Place]:
    if work.data:
        yield Place(where="", damage=partial(_repack, work))


CONTROLS = (
    *(Fault(name=name, check="", places=partial(_anywhere, name=name)) for name in _ALWAYS),
    Fault(name="data laid out again", check="", places=_where_data_is),
)
"""In the form of faults that no check must catch."""
