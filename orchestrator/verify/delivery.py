"""The delivered files themselves: as the manifest says, beside each other, and the graph needs nothing outside of them."""

from __future__ import annotations

import functools
import math
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]
from onnx.external_data_helper import uses_external_data
from onnx.helper import tensor_dtype_to_np_dtype

from orchestrator.digest import digest_of
from orchestrator.result import FileRef
from orchestrator.verify.base import Subject, Verdict, judged

LARGE = 2**20
"""Bytes from which on reading a file takes longer than the ticks of the clock that its ctime is taken from."""


def check(subject: Subject) -> Verdict:
    """Files are regular, single-linked and as the manifest says; external data lies in a listed file, within its bounds."""
    problems = [problem for file in subject.artifact.files for problem in _file(subject.folder, file)]
    if not problems:
        problems = list(_references(subject))
    size = sum(file.bytes for file in subject.artifact.files)
    return judged("delivery", problems, f"{len(subject.artifact.files)} files, {size} bytes, as listed")


def _file(folder: Path, file: FileRef) -> Iterator[str]:
    path = folder / file.name
    try:
        status = path.lstat()
    except FileNotFoundError:
        yield f"{file.name} is missing"
        return
    if not stat.S_ISREG(status.st_mode):
        yield f"{file.name} is no regular file"
    elif status.st_nlink != 1:
        yield f"{file.name} has {status.st_nlink} hard links, which onnx refuses for external data"
    elif status.st_size != file.bytes:
        yield f"{file.name} has {status.st_size} bytes instead of {file.bytes}"
    elif _digest(path, status) != file.sha256:
        yield f"{file.name} has other bytes than were written"


def _digest(path: Path, status: os.stat_result) -> str:
    """Weights that several graphs share are read again only if they changed: every write moves ctime, which nobody can set."""
    if status.st_size < LARGE:
        return digest_of(path)
    return _remembered(path, status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns)


@functools.lru_cache(maxsize=64)
def _remembered(path: Path, *_: int) -> str:
    return digest_of(path)


def _references(subject: Subject) -> Iterator[str]:
    listed = {file.name: file.bytes for file in subject.artifact.files[1:]}
    used = set()
    for tensor in external_tensors(subject.proto):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        used.add(location)
        if location not in listed:
            yield f"{tensor.name} is in {location}, which is not delivered"
        else:
            yield from _bounds(tensor, entries, location, listed[location])
    yield from (f"{name} is delivered and not used" for name in sorted(set(listed) - used))


def _bounds(tensor: onnx.TensorProto, entries: Mapping[str, str], location: str, size: int) -> Iterator[str]:
    """Offset and length are numbers, the length is what the shape needs, the end is within the file."""
    offset, length = entries.get("offset", "0"), entries.get("length", "")
    needed = math.prod(tensor.dims) * tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    if not (offset.isdecimal() and length.isdecimal()):
        yield f"{tensor.name} has offset {offset!r} and length {length!r} in {location}, which are not both numbers"
    elif int(length) < needed:
        yield f"{tensor.name} has {length} bytes in {location}, its shape needs {needed}"
    elif int(offset) + int(length) > size:
        yield f"{tensor.name} ends at byte {int(offset) + int(length)} of {location}, which has {size}"


def external_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Those with external data, see `tensors`."""
    return (tensor for _, tensor in tensors(model) if uses_external_data(tensor))


def tensors(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """All, wherever a tensor may stand: initializers, sparse ones, attributes, subgraphs, functions.

    Yields:
        The name of the value that it gives, and the tensor; one in an attribute of another operator has that operator's name.
    """
    todo: list[tuple[str, Any]] = [("", model)]
    while todo:
        name, message = todo.pop()
        if isinstance(message, onnx.TensorProto):
            yield message.name if not name or message.name else name, message
            continue
        if isinstance(message, onnx.NodeProto):
            # A file from elsewhere may have a node without outputs.
            output = next(iter(message.output), "")
            name = output if message.op_type == "Constant" else message.name or output
        for field, value in message.ListFields():
            if field.message_type is not None:
                todo.extend((name, item) for item in ([value] if isinstance(value, Message) else value))
