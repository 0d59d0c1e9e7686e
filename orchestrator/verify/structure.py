"""Whether the file is valid ONNX of the opset that was asked for, and holds nothing that belongs to training or to chance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import onnx
from onnx import numpy_helper

from orchestrator.verify import session
from orchestrator.verify.base import REFERENCE_EVALUATOR, Subject, Verdict, judged

STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
RANDOM = frozenset({"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"})
"""Operators of the ONNX standard whose answer depends on a generator."""
DROPOUT_MODE_INPUT = 2
"""Position of Dropout's training_mode, from opset 12 on."""


def check(subject: Subject) -> Verdict:
    """Opset, domains, IR version, training mode, random operators; the native checker and shape inference in their process."""
    proto = subject.proto
    problems = [*_opset(subject), *_domains(proto, subject.domains)]
    # What the reference evaluator reads is what onnx itself reads, which its checker tells.
    if subject.target.provider != REFERENCE_EVALUATOR:
        problems += _ir_version(proto)
    nodes = list(_nodes(proto))
    problems += _random(nodes)
    if subject.model.mode == "eval":
        problems += _training(proto, nodes, subject.sources)
    if complaint := subject.native():
        problems.append(f"onnx's checker: {complaint}{_place(complaint, subject.sources)}")
    return judged("structure", problems, f"opset {subject.artifact.opset}, IR version {proto.ir_version}, {len(nodes)} nodes")


def _place(complaint: str, sources: Mapping[str, str]) -> str:
    """The model's line of the node that the checker names."""
    found = re.search(r"node name: (?P<name>[^)\s]+)", complaint)
    return f" (at {sources[found['name']]})" if found and found["name"] in sources else ""


def _opset(subject: Subject) -> Iterator[str]:
    actual = subject.artifact.opset
    if actual != subject.opset:
        yield f"asked for opset {subject.opset}, the file is opset {actual}: the exporter did not honour it and did not say so"


def _domains(proto: onnx.ModelProto, allowed: frozenset[str]) -> Iterator[str]:
    own = {function.domain for function in proto.functions}
    used = {node.domain for node in _nodes(proto)}
    for domain in sorted(used - own - STANDARD_DOMAINS - allowed):
        yield f"operators of the domain {domain}, which the file neither defines nor a standard runtime knows"


def _ir_version(proto: onnx.ModelProto) -> Iterator[str]:
    if not session.takes_ir_version(proto.ir_version):
        yield f"IR version {proto.ir_version} is newer than the installed ONNX Runtime reads"


def _random(nodes: list[onnx.NodeProto]) -> Iterator[str]:
    for node in nodes:
        if node.op_type in RANDOM:
            yield f"{_name(node)} is a {node.op_type}: the artifact answers differently every time"


def _training(proto: onnx.ModelProto, nodes: list[onnx.NodeProto], sources: Mapping[str, str]) -> Iterator[str]:
    """A BatchNormalization trains if it gives statistics; from opset 14 on its attribute says so too.

    One of a constant does not: that is how models standardise their weights, in eval mode too.
    """
    constant = _constant(proto)
    off = {tensor.name for tensor in proto.graph.initializer if _is_false(tensor)} | {""}
    off |= {node.output[0] for node in nodes if node.op_type == "Constant" and any(_is_false(a.t) for a in node.attribute)}
    for node in nodes:
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        gives_statistics = sum(map(bool, node.output)) > 1
        trains = attributes.get("training_mode") or gives_statistics
        normalises = node.op_type == "BatchNormalization" and trains and node.input[0] not in constant
        drops = node.op_type == "Dropout" and len(node.input) > DROPOUT_MODE_INPUT and node.input[DROPOUT_MODE_INPUT] not in off
        if normalises or drops:
            place = f" (at {sources[node.name]})" if node.name in sources else ""
            yield f"{_name(node)} is a {node.op_type} in training mode{place}, the model is declared in eval mode"


def _constant(proto: onnx.ModelProto) -> set[str]:
    """Values of the main graph that depend on no input; what has a graph of its own counts as if it did."""
    found = {tensor.name for tensor in proto.graph.initializer} - {value.name for value in proto.graph.input} | {""}
    for node in proto.graph.node:
        if found.issuperset(node.input) and node.op_type not in ("If", "Loop", "Scan", *RANDOM):
            found.update(node.output)
    return found - {""}


def _name(node: onnx.NodeProto) -> str:
    """A node need not have one; its output does."""
    return str(node.name or node.output[0])


def _is_false(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == onnx.TensorProto.BOOL and not numpy_helper.to_array(tensor).any()


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """All nodes, in subgraphs and functions too."""
    todo = [*proto.graph.node, *(node for function in proto.functions for node in function.node)]
    while todo:
        node = todo.pop()
        yield node
        for attribute in node.attribute:
            todo.extend(attribute.g.node)
            for graph in attribute.graphs:
                todo.extend(graph.node)
