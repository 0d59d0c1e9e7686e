"""The native checker and shape inference of onnx, in a process of their own: they can crash on a bad file.

Run as a script, with the file as its argument: exit 0 and silence, or exit 1 and the complaint on standard output. External
data is not read. `start` runs it from another process.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

COMPLAINT = 1
DEADLINE_SECONDS = 300.0
"""For a file of gigabytes of nodes; a cell's own deadline is usually shorter."""


@contextmanager
def start(path: Path) -> Iterator[Callable[[], str | None]]:
    """Begin to check a file, and go on at once; what still works at the end is killed.

    Yields:
        A function that waits for the end and returns the complaint, or None.
    """
    with subprocess.Popen(
        [sys.executable, __file__, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield functools.cache(functools.partial(_collect, process))
        finally:
            process.kill()


def _collect(process: subprocess.Popen[str]) -> str | None:
    try:
        said, _ = process.communicate(timeout=DEADLINE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"the checker did not end within {DEADLINE_SECONDS:.0f} s"
    if process.returncode == 0:
        return None
    said = " ".join(said.split())
    return said if process.returncode == COMPLAINT else f"the checker crashed (exit code {process.returncode}): {said[-500:]}"


def examine(path: str) -> str | None:
    """The complaint about a file, or None; may take the process with it."""
    import onnx

    try:
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path, format="protobuf", load_external_data=False)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    # Beside this script are modules whose names must not shadow others.
    sys.path.pop(0)
    complaint = examine(sys.argv[1])
    sys.stdout.write(complaint or "")
    sys.exit(0 if complaint is None else COMPLAINT)
