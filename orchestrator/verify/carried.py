"""The constants that an artifact carries, wherever they stand, with their values and how matrix products take them.

Values are read from the file at the first look. Constants that a run computes of others are not covered.
"""

from __future__ import annotations

import functools
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (numpy knows bfloat16 by it)
import numpy as np
import onnx
from onnx import numpy_helper
from onnx.external_data_helper import uses_external_data
from onnx.helper import tensor_dtype_to_np_dtype

from orchestrator.verify.base import ArtifactError, Subject
from orchestrator.verify.compare import digest, is_floating
from orchestrator.verify.delivery import tensors

BLOCKED = frozenset({"com.microsoft.nchwc", "com.ms.internal.nhwc"})
"""Domains of ONNX Runtime's operators for its own layouts, which a file that its optimiser saved may hold."""
SUB_BYTE = frozenset(
    {onnx.TensorProto.INT4, onnx.TensorProto.UINT4, onnx.TensorProto.FLOAT4E2M1, onnx.TensorProto.INT2, onnx.TensorProto.UINT2}
)
"""Types of which a byte holds several."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Carried:
    """One constant."""

    name: str
    """Of the value that it gives."""
    tensor: onnx.TensorProto
    folder: Path
    turned: frozenset[bool]
    """Of a matrix: whether products take it as it lies there (False) or transposed (True); empty if none does."""
    blocked: bool
    """Whether an operator of the runtime's own takes it, which has layouts of its own: in blocks of channels, and padded."""

    @functools.cached_property
    def values(self) -> np.ndarray:
        """The values; of external data a view of the mapped file.

        Raises:
            ArtifactError: They are not where the graph says.
        """
        tensor = self.tensor
        if uses_external_data(tensor) and tensor.data_type not in SUB_BYTE:
            return self._external()
        return np.asarray(numpy_helper.to_array(tensor, str(self.folder)))

    @functools.cached_property
    def digest(self) -> str:
        """Of the bytes in C order, whatever the shape."""
        return digest(self.values)

    @property
    def is_floating(self) -> bool:
        """Whether it can hold weights."""
        return is_floating(self.values.dtype)

    def _external(self) -> np.ndarray:
        entries = {entry.key: entry.value for entry in self.tensor.external_data}
        dtype = tensor_dtype_to_np_dtype(self.tensor.data_type)
        shape = tuple(self.tensor.dims)
        try:
            mapped = _mapped(self.folder / entries["location"])
            count = int(np.prod(shape, dtype=np.int64))
            return np.frombuffer(mapped, dtype, count, int(entries.get("offset", 0))).reshape(shape)
        except (OSError, KeyError, ValueError) as error:
            raise ArtifactError(f"{self.name} cannot be read from its external data: {error}") from error


def constants(subject: Subject) -> list[Carried]:
    """All constants of the artifact: initializers and attributes, in subgraphs and functions too.

    Raises:
        ArtifactError: The graph is no ONNX file.
    """
    consumers = _consumers(subject.proto)
    return [
        Carried(
            name=name,
            tensor=tensor,
            folder=subject.folder,
            turned=frozenset(_turns(name, consumers)),
            blocked=any(node.domain in BLOCKED for node, _ in consumers.get(name, ())),
        )
        for name, tensor in tensors(subject.proto)
    ]


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _consumers(model: onnx.ModelProto) -> Mapping[str, list[tuple[onnx.NodeProto, int]]]:
    found: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
    todo: list[Any] = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while todo:
        node = todo.pop()
        for position, name in enumerate(node.input):
            found.setdefault(name, []).append((node, position))
        for attribute in node.attribute:
            todo.extend([*attribute.g.node, *(inner for graph in attribute.graphs for inner in graph.node)])
    return found


def _turns(name: str, consumers: Mapping[str, list[tuple[onnx.NodeProto, int]]]) -> Iterator[bool]:
    """How matrix products take a value; through a Transpose of two axes too."""
    for node, position in consumers.get(name, ()):
        integers = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "MatMul":
            yield False
        elif node.op_type == "Gemm" and position < 2:
            yield bool(integers.get("transA" if position == 0 else "transB", 0))
        elif node.op_type == "Transpose" and _swaps(node):
            yield from (not turned for turned in _turns(node.output[0], consumers))
        elif node.op_type in ("Identity", "Cast"):
            yield from _turns(node.output[0], consumers)


def _swaps(node: onnx.NodeProto) -> bool:
    return not node.attribute or list(node.attribute[0].ints) == [1, 0]
