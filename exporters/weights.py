"""The weights of a graph: large ones go to one file beside it, which is named by what it holds."""

from __future__ import annotations

import hashlib
import secrets
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import onnx_ir as ir

if TYPE_CHECKING:
    from typing_extensions import Buffer

LARGE = 64 * 1024
"""Bytes from which on a tensor goes to the weights file.

Below, the two exporters differ by a few folded constants; from here on they are equal for most models, which then share a file.
"""
ALIGNMENT = 4096
"""Of a tensor in the weights file, in bytes: a page, which onnx.proto recommends so that runtimes can map the file."""


def _is_large(tensor: ir.TensorProtocol) -> bool:
    """Strings cannot be external data."""
    return tensor.dtype != ir.DataType.STRING and tensor.nbytes >= LARGE


def lift_constants(model: ir.Model) -> None:
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


def move(model: ir.Model, folder: Path) -> tuple[str, ...]:
    """Let initializers of at least `LARGE` bytes refer to the file `weights-<digest12>.data`.

    It holds each distinct tensor once, sorted by digest, and is named by the digest of the set: what it holds never depends on
    which other graphs were written. One that exists in the folder is used as it is.

    Returns:
        The name of the file, if there is a large initializer.
    """
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


_DIGESTS: dict[int, tuple[weakref.ref[Any], int, str]] = {}
"""By identity of a torch tensor that lives: the tensor, how often it was written to, and its digest then."""


def _digest(tensor: ir.TensorProtocol) -> str:
    """SHA-256; a module's own tensors are in the graphs of all its opsets, and are hashed once."""
    raw = getattr(tensor, "raw", None)
    version = getattr(raw, "_version", None)
    if version is None:
        return _hashed(tensor)
    key = id(raw)
    known = _DIGESTS.get(key)
    if known is None or known[0]() is not raw or known[1] != version:
        known = _DIGESTS[key] = (weakref.ref(raw), version, _hashed(tensor))
    return known[2]


def _hashed(tensor: ir.TensorProtocol) -> str:
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
