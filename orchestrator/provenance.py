"""With what and where a run works: versions of the tools, facts on the host, devices. Imports none of the tools.

Digests of code and weights, and the keys made of them, are not here.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

TOOLS = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "onnx",
    "onnxscript",
    "onnx-ir",
    "onnxruntime-gpu",
    "onnxruntime",
    "ray",
    "hydra-core",
    "omegaconf",
    "numpy",
    "safetensors",
    "msgspec",
)
"""Distributions that an artifact or a verdict may depend on."""


def versions() -> Mapping[str, str]:
    """Versions of the tools that are installed, with this project's own and Python's."""
    from orchestrator import __version__

    found = {"orchestrator": __version__, "python": platform.python_version()}
    for tool in TOOLS:
        try:
            found[tool] = importlib.metadata.version(tool)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """What is not as it was, a line each: `torch 2.14.0 → 2.15.0`."""
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            yield f"{name} {before.get(name, 'none')} → {now.get(name, 'none')}"


def host() -> Mapping[str, str | int]:
    """Facts on this machine, none of which names it: platform, machine, processor, cores and memory in bytes."""
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": os.cpu_count() or 1,
        "memory": psutil.virtual_memory().total,
    }


def local_devices(root: Path = Path("/")) -> frozenset[str]:
    """Which of cpu and cuda this process can use, found without torch: CUDA works through the driver's device files.

    Args:
        root: Of the file system.
    """
    return frozenset({"cpu", "cuda"} if any(root.glob("dev/nvidia[0-9]*")) else {"cpu"})


def _processor() -> str:
    """The model's name, on Linux; elsewhere what the platform says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
