"""From stack traces and warnings to the line of the model that they are about, without a path of this machine."""

from __future__ import annotations

import functools
import linecache
import re
import sys
import sysconfig
import traceback
from pathlib import Path

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>\S+))?')
_TRACED_FRAME = re.compile(r"^(?P<file>/.+)\((?P<line>\d+)\): (?P<function>\S+)$", re.MULTILINE)
_OURS = "exporters/"
_NOT_THE_MODEL = ("torch/", "onnxscript/", "onnx_ir/", _OURS, "<")
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")
INTERPRETER_FAILED = "The following operation failed in the TorchScript interpreter."
"""First line of an error whose last line is the cause, with its type before it."""


def relative(file: str) -> str:
    """A source file's path as it is imported, `package/module.py`; only its name if no import path leads to it."""
    return _relative(file, tuple(sys.path))


@functools.cache
def _relative(file: str, search: tuple[str, ...]) -> str:
    if not Path(file).is_absolute():
        return file
    roots = [root for root in {Path(entry).absolute() for entry in search} if Path(file).is_relative_to(root)]
    if not roots:
        return Path(file).name
    return Path(file).relative_to(max(roots, key=lambda root: len(root.parts))).as_posix()


def line(file: str, number: int) -> str | None:
    """`package/file.py:12`, or None if the file is not the model's but the exporter's."""
    path = relative(file)
    standard = file.startswith(_STANDARD_LIBRARY) and "-packages" not in file
    return None if standard or path.startswith(_NOT_THE_MODEL) else f"{path}:{number}"


def text(place: str) -> str:
    """The line of source at a place that `line` or `innermost` told, stripped; empty where the file is not found."""
    file, _, number = place.partition(" in ")[0].rpartition(":")
    paths = (Path(entry) / file for entry in sys.path)
    return next((linecache.getline(str(path), int(number)).strip() for path in paths if path.is_file()), "")


def innermost(trace: str) -> str | None:
    """The innermost frame of a stack trace that belongs to the model: `package/file.py:12 in forward`.

    Args:
        trace: As Python and dynamo write it (`File "…", line 12, in forward`, innermost last), as scripting does (the same
            without the function) or as tracing does (`/…/file.py(12): forward`, innermost first).
    """
    for frame in (*reversed(list(_FRAME.finditer(trace))), *_TRACED_FRAME.finditer(trace)):
        if relative(frame["file"]).startswith(_OURS):
            return None  # further out are those who asked for the export
        if found := line(frame["file"], int(frame["line"])):
            return f"{found} in {frame['function']}" if frame["function"] else found
    return None


def told(error: BaseException) -> str:
    """What went wrong and at which line of the model, in one line, without the advice around it."""
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    said = lines[-1].partition(": ")[2] if lines[0] == INTERPRETER_FAILED else lines[0]
    # Scripting adds who called the function that it could not compile.
    place = innermost(text.partition("is being compiled since it was called from")[0]) or innermost(
        "".join(traceback.format_tb(error.__traceback__))
    )
    return f"{type(error).__name__}: {said}" + (f" (at {place})" if place else "")
