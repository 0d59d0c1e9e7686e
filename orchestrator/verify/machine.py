"""What torch and ONNX Runtime find on this machine, as JSON on standard output: `python -m orchestrator.verify.machine`.

A process of its own, so that nobody else has to import them, and none dies of a driver that does not fit.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import onnx
import torch

from orchestrator.spec import Target
from orchestrator.verify.base import ArtifactError
from orchestrator.verify.session import Session


def main() -> None:
    """Prints the devices that torch sees, and of each provider of ONNX Runtime why it does not work; null if it does."""
    # What the runtime itself has to say on its providers goes there too, and stdout is for the answer.
    answer = os.dup(1)
    os.dup2(2, 1)
    devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    with os.fdopen(answer, "wb") as out:
        out.write(msgspec.json.encode({"cuda": devices, "providers": providers()}))


def providers() -> Mapping[str, str | None]:
    """Every provider that ONNX Runtime was built with → why a graph of one node does not run on it."""
    # After `session`, which keeps it from talking to others when it is imported.
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "identity.onnx"
        onnx.save(_identity(), path)
        return {provider: _failure(path, provider) for provider in onnxruntime.get_available_providers()}


def _failure(path: Path, provider: str) -> str | None:
    device = "cpu" if provider == "CPUExecutionProvider" else "cuda"
    try:
        Session(path, Target(name="probe", device=device, provider=provider), threads=1).providers()  # type: ignore[arg-type]
    except ArtifactError as error:
        return str(error)
    return None


def _identity() -> onnx.ModelProto:
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "identity", value[:1], value[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    main()
