"""What both exporters do to an ONNX graph: weights to the shared file, metadata out, and reading back what a file says."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import onnx_ir as ir

from exporters import sources

if TYPE_CHECKING:
    from typing_extensions import Buffer

LARGE = 64 * 1024
"""Bytes from which on a tensor goes to the weights file.

Below, the two exporters differ by a few folded constants; from here on they are equal for most models, which then share a file.
"""
ALIGNMENT = 4096
"""Of a tensor in the weights file, in bytes: a page, which onnx.proto recommends so that runtimes can map the file."""


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
    """Write a graph as `<stem>.onnx`, its tensors of at least `LARGE` bytes as `weights-<digest12>.data`.

    The weights file holds each distinct tensor once, sorted by digest, and is named by the digest of the set: what it holds
    never depends on which other graphs were written. One that exists in the folder is used as it is.

    Args:
        model: The graph; changed in memory. Its metadata and doc strings are taken out, since they carry paths of this machine.
        folder: Where the files go.
        stem: Name of the graph file without its suffix.
        weights_as_inputs: List the weights among the inputs, after the others, so that a runtime can be given other values.
    """
    lines = _strip(model)
    _lift_constants(model)
    data = _move_weights(model, folder)
    weights = list(model.graph.initializers.values()) if weights_as_inputs else []
    model.graph.inputs.extend(weights)
    # ir.save would look at external data again; the proto holds references only.
    (folder / f"{stem}.onnx").write_bytes(ir.to_proto(model).SerializeToString(deterministic=True))
    return Written(
        files=(f"{stem}.onnx", *data),
        opset=model.opset_imports[""],
        sources=lines,
        weights_as_inputs=tuple(value.name or "" for value in weights),
    )


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


def name_by_place(model: ir.Model) -> None:
    """Name nodes and what they compute by type and order, for exporters whose names tell what the process did before."""
    kept = {id(value) for value in model.graph.outputs}
    counts: Counter[str] = Counter()
    for node in _nodes(model):
        node.name = f"/{node.op_type}_{counts[node.op_type]}"
        counts[node.op_type] += 1
        for number, value in enumerate(node.outputs):
            # An output without a name is one that the node does not compute.
            if value.name and id(value) not in kept:
                value.name = f"{node.name}_output_{number}"


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


# Weights


def _is_large(tensor: ir.TensorProtocol) -> bool:
    """Strings cannot be external data."""
    return tensor.dtype != ir.DataType.STRING and tensor.nbytes >= LARGE


def _lift_constants(model: ir.Model) -> None:
    """Make initializers of large constants; scripted models carry their weights as constants, inside branches too.

    One that is itself an output of its graph stays. The pass of onnx-ir counts elements where the limit here is in bytes.
    """
    for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
        if node.op_type != "Constant" or node.domain or "value" not in node.attributes:
            continue
        tensor, output, graph = node.attributes["value"].as_tensor(), node.outputs[0], node.graph
        if not _is_large(tensor) or output.is_graph_output():
            continue
        assert isinstance(graph, ir.Graph)
        weight = ir.Value(name=output.name, shape=_shape(tensor), type=ir.TensorType(tensor.dtype), const_value=tensor)
        graph.register_initializer(weight)
        output.replace_all_uses_with(weight)
        graph.remove(node, safe=True)


def _move_weights(model: ir.Model, folder: Path) -> tuple[str, ...]:
    """Let large initializers refer to the weights file, which is written unless it is there; returns its name, if any."""
    weights = [
        (value, value.const_value)
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    ]
    for value, tensor in weights:
        if isinstance(tensor, ir.ExternalTensor) and not _is_large(tensor):
            # The exporter of a graph above 2 GiB puts every weight outside.
            value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=value.name)
    large = [(value, tensor) for value, tensor in weights if _is_large(tensor)]
    if not large:
        return ()
    digests = [_digest(tensor) for _, tensor in large]
    tensors = dict(sorted(zip(digests, (tensor for _, tensor in large), strict=True), key=lambda item: item[0]))
    name = f"weights-{hashlib.sha256(''.join(tensors).encode()).hexdigest()[:12]}.data"
    offsets = _offsets(tensors)
    if not (folder / name).exists():
        _write_weights(folder / name, tensors, offsets)
    for digest, (value, tensor) in zip(digests, large, strict=True):
        value.const_value = ir.ExternalTensor(
            name, offsets[digest], tensor.nbytes, tensor.dtype, shape=_shape(tensor), name=value.name or "", base_dir=folder
        )
    return (name,)


def _shape(tensor: ir.TensorProtocol) -> ir.Shape:
    return ir.Shape(tensor.shape.numpy())


def _digest(tensor: ir.TensorProtocol) -> str:
    sink = _Hash()
    _send(tensor, sink)
    return sink.digest.hexdigest()


class _Hash:
    """A file that only hashes, so that a tensor is not copied for its digest."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: Buffer) -> int:
        view = memoryview(data)
        # torch writes its tensors as arrays of their own shape, which hashlib refuses.
        self.digest.update(view.cast("B") if view.nbytes else b"")
        return view.nbytes


def _send(tensor: ir.TensorProtocol, file: BinaryIO | _Hash) -> None:
    """Write the bytes; every tensor class of onnx-ir and torch can, though their common protocol leaves it out."""
    tensor.tofile(file)  # type: ignore[attr-defined]


def _offsets(tensors: Mapping[str, ir.TensorProtocol]) -> dict[str, int]:
    offsets, end = {}, 0
    for digest, tensor in tensors.items():
        offsets[digest] = -(-end // ALIGNMENT) * ALIGNMENT
        end = offsets[digest] + tensor.nbytes
    return offsets


def _write_weights(path: Path, tensors: Mapping[str, ir.TensorProtocol], offsets: Mapping[str, int]) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with temporary.open("wb") as file:
        for digest, tensor in tensors.items():
            file.write(b"\0" * (offsets[digest] - file.tell()))
            _send(tensor, file)
    temporary.replace(path)
