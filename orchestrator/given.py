"""What an ONNX file that something else made says of itself and of its data files, read before anything loads them.

Whether it answers what a model answers is not asked here.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx.external_data_helper import ExternalDataInfo

from exporters import graph
from orchestrator import layout
from orchestrator.artifact import described
from orchestrator.result import Artifact, FileRef
from orchestrator.verify.delivery import external_tensors


class UnfitError(Exception):
    """Nothing may load the file, in one line; `check` is the check that says so."""

    def __init__(self, check: str, problem: str) -> None:
        super().__init__(problem)
        self.check = check


def read(path: Path) -> Artifact:
    """Make the manifest of a graph and of the data files that it names.

    A data file has to lie in the graph's folder or below, reached without a link, regular and with one link, and every tensor
    within its bounds. Digests are those of `SHA256SUMS`, where one lies beside the graph and lists the file; the delivery check
    then compares.

    Args:
        path: The graph file, absolute.

    Raises:
        UnfitError: It is no ONNX file, or a data file is not as it has to be.
    """
    model = _parse(path)
    data = _data_files(model, path.parent)
    try:
        description = graph.describe(path)
    except Exception as error:  # whatever onnx-ir raises on a graph that contradicts itself, RecursionError included
        raise UnfitError("structure", f"{path.name} cannot be read as a graph: {_line(error)}") from error
    files = (_manifest(path.parent, path.name), *(_manifest(path.parent, name) for name in data))
    return described(description, files, "given")


def _parse(path: Path) -> onnx.ModelProto:
    data = path.read_bytes()
    if not data:
        raise UnfitError("structure", f"{path.name} is empty")
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        # Also said of one that nests deeper than protobuf follows, which is 100 messages: about 30 subgraphs.
        reason = "damaged, cut off, nested too deeply, or of another format"
        raise UnfitError("structure", f"{path.name} is no ONNX file ({reason}): {_line(error)}") from error
    if not model.HasField("graph"):
        raise UnfitError("structure", f"{path.name} is no ONNX file: it holds no graph")
    return model


# Data files


def _data_files(model: onnx.ModelProto, folder: Path) -> tuple[str, ...]:
    """The locations that tensors name, each checked."""
    sizes: dict[str, int] = {}
    problems = []
    for tensor in external_tensors(model):
        try:
            info = ExternalDataInfo(tensor)
            if info.location not in sizes:
                sizes[info.location] = _size(folder, info.location)
        except ValueError as error:
            problems.append(f"{tensor.name}: {error}")
            continue
        end = (info.offset or 0) + (info.length or 0)
        if end > sizes[info.location]:
            problems.append(f"{tensor.name} ends at byte {end} of {info.location}, which has {sizes[info.location]}")
    if problems:
        more = f" (and {len(problems) - 1} more tensors)" if len(problems) > 1 else ""
        raise UnfitError("delivery", f"{problems[0]}{more}")
    return tuple(sorted(sizes))


def _size(folder: Path, location: str) -> int:
    """Bytes of a data file.

    Raises:
        ValueError: It is not there, or not as it has to be.
    """
    parts = PurePosixPath(location).parts
    if not parts or location.startswith("/") or ".." in parts or "\\" in location or "\0" in location:
        raise ValueError(f"its data is in {location!r}, which is no path within the folder")
    try:
        path = folder / location
        status = path.lstat()
    except OSError as error:
        raise ValueError(f"its data file {location} is missing: {error.strerror}") from error
    if path.resolve() != folder.resolve().joinpath(*parts) or not stat.S_ISREG(status.st_mode):
        raise ValueError(f"its data file {location} is a link or no regular file")
    if status.st_nlink != 1:
        raise ValueError(f"its data file {location} has {status.st_nlink} hard links, which onnx refuses")
    return status.st_size


def _manifest(folder: Path, name: str) -> FileRef:
    listed = _listed(folder).get(name)
    with (folder / name).open("rb") as file:
        sha256 = listed or hashlib.file_digest(file, "sha256").hexdigest()
        return FileRef(name=name, sha256=sha256, bytes=os.fstat(file.fileno()).st_size)


def _listed(folder: Path) -> dict[str, str]:
    """Digests by name that lie beside the graph."""
    sums = folder / layout.SUMS
    if not sums.is_file():
        return {}
    lines = (line.partition("  ") for line in sums.read_text(encoding="utf-8", errors="replace").splitlines())
    return {name: digest for digest, _, name in lines}


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
