"""The delivered files themselves: as the manifest says, beside each other, and the graph needs nothing outside of them."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from orchestrator.result import FileRef
from orchestrator.verify.base import Subject, Verdict, judged


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
    elif _sha256(path) != file.sha256:
        yield f"{file.name} has other bytes than were written"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _references(subject: Subject) -> Iterator[str]:
    listed = {file.name: file.bytes for file in subject.artifact.files[1:]}
    used = set()
    for tensor in _tensors(subject.proto.graph):
        if uses_external_data(tensor):
            info = ExternalDataInfo(tensor)
            used.add(info.location)
            end = (info.offset or 0) + (info.length or 0)
            if info.location not in listed:
                yield f"{tensor.name} is in {info.location}, which is not delivered"
            elif end > listed[info.location]:
                yield f"{tensor.name} ends at byte {end} of {info.location}, which has {listed[info.location]}"
    yield from (f"{name} is delivered and not used" for name in sorted(set(listed) - used))


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Initializers and constants, in subgraphs too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                yield from _tensors(inner)
