"""Runs an artifact once more in a process of its own: `determinism` starts this file as a script.

Its arguments are the graph, the execution provider, the threads and a folder of inputs; it prints a digest for each output.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def write(folder: Path, inputs: Mapping[str, np.ndarray]) -> None:
    """Write inputs where the script reads them, in the dtypes that ONNX knows and numpy's own files do not."""
    for number, (name, values) in enumerate(inputs.items()):
        (folder / f"{number}.pb").write_bytes(numpy_helper.from_array(values, name).SerializeToString())


def _run(path: str, provider: str, threads: str, folder: str) -> list[str]:
    from orchestrator.spec import Target
    from orchestrator.verify.compare import digest
    from orchestrator.verify.session import Session

    tensors = [onnx.TensorProto.FromString(file.read_bytes()) for file in Path(folder).iterdir()]
    # A device only decides where a cell is placed, which is here.
    session = Session(Path(path), Target(name="", device="cpu", provider=provider), int(threads))
    return [digest(values) for values in session({tensor.name: numpy_helper.to_array(tensor) for tensor in tensors})]


if __name__ == "__main__":
    # Beside this script are modules whose names must not shadow others.
    sys.path[0] = str(Path(__file__).parents[2])
    sys.stdout.write("\n".join(_run(*sys.argv[1:])))
