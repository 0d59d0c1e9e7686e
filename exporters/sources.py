"""From stack traces and warnings to the line of the model that they are about, without a path of this machine."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>\S+))?')
_SCRIPT_FRAME = re.compile(r"(?P<file>/[^\s:]+\.py)[:(](?P<line>\d+)\)?(?:: (?P<function>\w+))?")


def relative(file: str) -> str:
    """A source file's path as it is imported, `package/module.py`; only its name if no import path leads to it."""
    if not Path(file).is_absolute():
        return file
    roots = [root for root in {Path(entry or ".").absolute() for entry in sys.path} if Path(file).is_relative_to(root)]
    if not roots:
        return Path(file).name
    return Path(file).relative_to(max(roots, key=lambda root: len(root.parts))).as_posix()


def line(file: str, number: int) -> str | None:
    """`package/file.py:12`, or None if the file is not the model's but PyTorch's."""
    path = relative(file)
    return None if path.startswith(("torch/", "onnxscript/", "<")) else f"{path}:{number}"


def innermost(trace: str) -> str | None:
    """The last frame of a stack trace that belongs to the model: `package/file.py:12 in forward`.

    Args:
        trace: As dynamo writes it (`File "…", line 12, in forward`, innermost last) or as TorchScript does
            (`/…/file.py(12): forward`, innermost first).
    """
    frames = list(_FRAME.finditer(trace))[::-1] or list(_SCRIPT_FRAME.finditer(trace))
    for frame in frames:
        if found := line(frame["file"], int(frame["line"])):
            return f"{found} in {frame['function']}" if frame["function"] else found
    return None
