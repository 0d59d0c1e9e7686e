"""What both exporters do to an ONNX graph: weights to the shared file, metadata out, and reading back what a file says."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import onnx_ir as ir

from exporters import sources, weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What an ONNX file says about itself."""

    opset: int
    """Of the default domain."""
    ir_version: int
    op_counts: Mapping[str, int]
    """Per operator type, subgraphs and functions included; operators of other domains as domain::type."""
    inputs: tuple[tuple[str, str, tuple[int | str | None, ...]], ...]
    """(name, dtype as in torch, shape); a string is a symbolic dimension, None an unnamed one."""
    outputs: tuple[tuple[str, str, tuple[int | str | None, ...]], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A graph on disk."""

    files: tuple[str, ...]
    """The graph first, then its external data."""
    opset: int
    """Of the default domain."""
    sources: Mapping[str, str]
    """Node name → line of the model."""
    weights_as_inputs: tuple[str, ...]
    """Names of the weights that are inputs as well, because that was asked for."""


def write(model: ir.Model, folder: Path, stem: str, *, weights_as_inputs: bool = False) -> Written:
    """Write a graph as `<stem>.onnx`, its large tensors as `weights-<digest12>.data`; see `weights.move`.

    Args:
        model: The graph; changed in memory. Its metadata and doc strings are taken out, since they carry paths of this machine.
        folder: Where the files go.
        stem: Name of the graph file without its suffix.
        weights_as_inputs: List the weights among the inputs, after the others, so that a runtime can be given other values.
    """
    lines = _strip(model)
    weights.lift_constants(model)
    data = weights.move(model, folder)
    added = list(model.graph.initializers.values()) if weights_as_inputs else []
    model.graph.inputs.extend(added)
    return Written(
        # ir.save would look at external data again; the proto holds references only.
        files=(_save(ir.to_proto(model), folder, stem), *data),
        opset=model.opset_imports[""],
        sources=lines,
        weights_as_inputs=tuple(value.name or "" for value in added),
    )


def stamp(written: Written, folder: Path, stem: str, *, opset: int, ir_version: int) -> Written:
    """Write a graph once more that says another opset and IR version of itself, and nothing else.

    Args:
        written: What `write` returned for a graph without functions, which would have opsets of their own.
        folder: The same as there.
        stem: Name of this graph file without its suffix.
        opset: Of the default domain.
        ir_version: As the exporter writes it with this opset.
    """
    proto = onnx.load(folder / written.files[0], load_external_data=False)
    assert not proto.functions
    proto.ir_version = ir_version
    for imported in _of_default_domain(proto):
        imported.version = opset
    return replace(written, files=(_save(proto, folder, stem), *written.files[1:]), opset=opset)


def _save(proto: onnx.ModelProto, folder: Path, stem: str) -> str:
    (folder / f"{stem}.onnx").write_bytes(proto.SerializeToString(deterministic=True))
    return f"{stem}.onnx"


def _of_default_domain(proto: onnx.ModelProto) -> Iterator[onnx.OperatorSetIdProto]:
    return (imported for imported in proto.opset_import if imported.domain in {"", "ai.onnx"})


def digest_without_stamps(path: Path) -> str:
    """SHA-256 of a graph file but for its opset of the default domain and its IR version; external data is not read."""
    model = onnx.load(path, format="protobuf", load_external_data=False)
    model.ir_version = 0
    for imported in _of_default_domain(model):
        imported.version = 0
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def order_inputs(model: ir.Model, names: Sequence[str]) -> None:
    """Put the inputs into the declared order; one that the exporter dropped stays away, one that it added comes last."""
    by_name = {value.name: value for value in model.graph.inputs}
    declared = [by_name.pop(name) for name in names if name in by_name]
    model.graph.inputs[:] = [*declared, *by_name.values()]


def separate_weights(model: ir.Model) -> None:
    """Take weights off the list of inputs, where IR version 3 has them; from version 4 on they need not be there."""
    weights = {id(value) for value in model.graph.initializers.values()}
    model.graph.inputs[:] = [value for value in model.graph.inputs if id(value) not in weights]
    model.ir_version = max(model.ir_version, 4)


def name_by_place(model: ir.Model, weights: Collection[str] | None = None) -> None:
    """Name nodes and what they compute by type and order, for exporters whose names tell how and when a graph was made.

    Args:
        model: The graph; changed in memory.
        weights: Names of the module's own tensors. Other initializers, which the exporter has folded, are named by their order
            as well, unless their name is that of one of these with something added; None lets all keep their names.
    """
    kept = {id(value) for value in model.graph.outputs}
    counts: Counter[str] = Counter()
    if weights is not None:
        _name_folded(model, weights)
    for node in _nodes(model):
        node.name = f"/{node.op_type}_{counts[node.op_type]}"
        counts[node.op_type] += 1
        for number, value in enumerate(node.outputs):
            # An output without a name is one that the node does not compute.
            if value.name and id(value) not in kept:
                value.name = f"{node.name}_output_{number}"


def _name_folded(model: ir.Model, weights: Collection[str]) -> None:
    # Subgraphs may use weights of the outer graph: names are unique in the whole file.
    number = 0
    for graph in model.graphs():
        for value in list(graph.initializers.values()):
            name = value.name or ""
            if name not in weights and name.rpartition("_")[0] not in weights and not value.is_graph_output():
                value.name = f"/folded_{number}"
                number += 1


def operators(model: ir.Model) -> set[str]:
    """Types of all nodes, subgraphs and functions included."""
    return {node.op_type for node in _nodes(model)}


def describe(path: Path) -> Description:
    """What a file says; external data is not read."""
    model = ir.load(path)
    counts = Counter(f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in _nodes(model))
    return Description(
        opset=model.opset_imports.get("", 0),
        ir_version=model.ir_version,
        op_counts=dict(sorted(counts.items())),
        inputs=tuple(map(_value, model.graph.inputs)),
        outputs=tuple(map(_value, model.graph.outputs)),
    )


def _value(value: ir.Value) -> tuple[str, str, tuple[int | str | None, ...]]:
    dtype = "unknown" if value.dtype is None else "string" if value.dtype == ir.DataType.STRING else value.dtype.numpy().name
    shape = tuple(size if isinstance(size, int) else size.value for size in value.shape) if value.shape is not None else ()
    return value.name or "", dtype, shape


def _nodes(model: ir.Model) -> Iterator[ir.Node]:
    yield from ir.traversal.RecursiveGraphIterator(model.graph)
    for function in model.functions.values():
        yield from ir.traversal.RecursiveGraphIterator(function)


# Metadata


def _strip(model: ir.Model) -> dict[str, str]:
    """Take out what carries paths of this machine, and return the lines of the model that it told."""
    lines: dict[str, str] = {}
    for number, node in enumerate(_nodes(model)):
        node.name = node.name or f"{node.op_type}_{number}"
        trace = node.metadata_props.get("pkg.torch.onnx.stack_trace") or node.doc_string or ""
        if found := sources.innermost(trace):
            lines[node.name] = found
        _clear(node, *node.outputs)
    for graph in model.graphs():
        _clear(graph, *graph.inputs, *graph.initializers.values())
    for function in model.functions.values():
        _clear(function, *function.inputs)
    _clear(model)
    return lines


def _clear(*things: ir.Model | ir.Graph | ir.Function | ir.Node | ir.Value) -> None:
    for thing in things:
        thing.metadata_props.clear()
        thing.doc_string = None
