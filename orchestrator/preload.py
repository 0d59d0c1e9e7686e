"""What the fork server imports before it forks: everything that a unit needs, so that a child starts in milliseconds.

Nothing is computed here: a first export, which would make the next ones faster still, would also make them depend on it.
"""

from __future__ import annotations

import contextlib
import importlib

STACK = (
    # torch before onnxruntime, so that the CUDA libraries in torch's wheels are found.
    "torch",
    "onnx",
    "onnx.checker",
    "onnxscript",
    "onnx_ir",
    "onnxruntime",
    "orchestrator.unit",
)
"""Imported in this order; what is missing or broken here ends the run."""

LAZY = (
    "torch.export._trace",
    "torch._dynamo",
    "torch._dynamo.functional_export",
    "torch._functorch.aot_autograd",
    "torch._export.serde.serialize",
    "torch.onnx._internal.exporter._compat",
    "torch.onnx._internal.exporter._torchlib.ops",
    "torch.onnx._internal.torchscript_exporter.utils",
    "onnxscript.rewriter.onnx_fusions",
    "onnxscript.function_libs.torch_lib.ops",
    "sympy.tensor.tensor",
)
"""What a first export imports by itself (sys.modules before and after, torch 2.15); another torch may not have one of them."""


def load() -> None:
    """Import everything.

    Raises:
        ImportError: a library of the stack is not installed or broken.
    """
    for name in STACK:
        importlib.import_module(name)
    for name in LAZY:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    # Every unit asks for it, and it takes 0.1 s.
    importlib.import_module("orchestrator.keys.surroundings").fingerprint()
    with contextlib.suppress(ModuleNotFoundError):
        # Its monitor thread would be a stray thread of every unit that shows progress.
        importlib.import_module("tqdm").tqdm.monitor_interval = 0


load()
