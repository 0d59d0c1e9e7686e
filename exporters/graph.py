"""What both exporters do to an ONNX graph: weights to the shared file, metadata out, and reading back what a file says."""

from __future__ import annotations

import hashlib
import io
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from exporters import sources

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


def write(model: ir.Model, folder: Path, stem: str) -> Written:
    """Write a graph as `<stem>.onnx`, its tensors of at least `LARGE` bytes as `weights-<digest12>.data`.

    The weights file holds each distinct tensor once, sorted by digest, and is named by the digest of the set: what it holds never
    depends on which other graphs were written. One that exists in the folder is used as it is. The model is changed in memory.

    Args:
        model: The graph; its node metadata and doc strings are taken out, since they carry paths of this machine.
        folder: Where the files go.
        stem: Name of the graph file without its suffix.
    """
    lines = _strip(model)
    # Scripted models carry their weights as constants, inside branches too.
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=LARGE // 8)(model)
    data = _move_weights(model, folder)
    # ir.save would look at external data again; the proto holds references only.
    (folder / f"{stem}.onnx").write_bytes(ir.to_proto(model).SerializeToString(deterministic=True))
    return Written(files=(f"{stem}.onnx", *data), opset=model.opset_imports[""], sources=lines)


def order_inputs(model: ir.Model, names: Sequence[str]) -> None:
    """Put the inputs into the declared order; one that the exporter dropped stays away, one that it added comes last."""
    by_name = {value.name: value for value in model.graph.inputs}
    declared = [by_name.pop(name) for name in names if name in by_name]
    model.graph.inputs[:] = [*declared, *by_name.values()]


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
    dtype = value.dtype.numpy().name if value.dtype is not None else "unknown"
    shape = tuple(size if isinstance(size, int) else size.value for size in value.shape) if value.shape is not None else ()
    return value.name or "", dtype, shape


def _graphs(model: ir.Model) -> Sequence[ir.Graph | ir.Function]:
    return (model.graph, *model.functions.values())


def _nodes(model: ir.Model) -> Iterator[ir.Node]:
    for graph in _graphs(model):
        yield from ir.traversal.RecursiveGraphIterator(graph)


# Metadata


def _strip(model: ir.Model) -> dict[str, str]:
    """Take out what carries paths of this machine, and return the lines of the model that it told."""
    lines: dict[str, str] = {}
    for number, node in enumerate(_nodes(model)):
        node.name = node.name or f"{node.op_type}_{number}"
        trace = node.metadata_props.get("pkg.torch.onnx.stack_trace") or node.doc_string or ""
        if found := sources.innermost(trace):
            lines[node.name] = found
        for value in node.outputs:
            _clear(value)
        _clear(node)
    for graph in _graphs(model):
        for value in (*graph.inputs, *(graph.initializers.values() if isinstance(graph, ir.Graph) else ())):
            _clear(value)
        _clear(graph)
    _clear(model)
    return lines


def _clear(thing: ir.Model | ir.Graph | ir.Function | ir.Node | ir.Value) -> None:
    thing.metadata_props.clear()
    thing.doc_string = None


# Weights


def _move_weights(model: ir.Model, folder: Path) -> tuple[str, ...]:
    """Let large initializers refer to the weights file, which is written unless it is there; returns its name, if any."""
    digests: dict[str, str] = {}
    tensors: dict[str, ir.TensorProtocol] = {}
    large = [value for value in _initializers(model) if value.const_value is not None and value.const_value.nbytes >= LARGE]
    for value in large:
        assert value.name is not None and value.const_value is not None
        digest = _digest(value.const_value)
        digests[value.name] = digest
        tensors.setdefault(digest, value.const_value)
    if not tensors:
        return ()
    ordered = dict(sorted(tensors.items()))
    name = f"weights-{hashlib.sha256(''.join(ordered).encode()).hexdigest()[:12]}.data"
    offsets = _offsets(ordered)
    if not (folder / name).exists():
        _write_weights(folder / name, ordered, offsets)
    for value in large:
        assert value.name is not None and value.const_value is not None
        tensor = value.const_value
        offset = offsets[digests[value.name]]
        value.const_value = ir.ExternalTensor(
            name, offset, tensor.nbytes, tensor.dtype, shape=tensor.shape, name=value.name, base_dir=folder
        )
    return (name,)


def _initializers(model: ir.Model) -> Iterator[ir.Value]:
    for graph in (model.graph, *model.graph.subgraphs()):
        yield from graph.initializers.values()


def _digest(tensor: ir.TensorProtocol) -> str:
    sink = _Hash()
    tensor.tofile(sink)
    return sink.digest.hexdigest()


class _Hash(io.RawIOBase):
    """A file that only hashes, so that a tensor is never copied whole."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        self.digest.update(view)
        return len(view)


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
            tensor.tofile(file)
    temporary.replace(path)
