"""What an export depends on beside its declaration: versions and builds of the tools, environment variables, the processor.

Imports none of the tools. A worker compares `here` with what is in the key and refuses work that was planned elsewhere.
"""

from __future__ import annotations

import ast
import functools
import os
import platform
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from orchestrator.build import sources
from orchestrator.keys.digests import of_value
from orchestrator.keys.packages import Packages

TOOLS = ("torch", "onnx", "onnx-ir", "onnxscript", "numpy", "ml-dtypes", "sympy")
"""Distributions that make the bytes of an artifact: ml-dtypes rounds bfloat16 for onnx-ir, sympy simplifies dynamic sizes."""

BUILD = ("git_version", "cuda", "hip", "debug")
"""Of torch/version.py: two builds may have one version."""

ENVIRONMENT = {
    "TORCH_ONNX_*": "flags of torch.onnx: what the exporters do",
    "TORCHDYNAMO_CAPTURE_*": "which values a capture follows",
    "TORCHDYNAMO_DISABLE": "no capture in strict mode",
    "TORCHDYNAMO_SUPPRESS_ERRORS": "a capture that fails goes on",
    "TORCH_COMPILE_DISABLE": "as TORCHDYNAMO_DISABLE",
    "TORCH_DYNAMO_AUTOMATIC_DYNAMIC_SHAPES": "which sizes become dynamic",
    "TORCH_DYNAMO_DO_NOT_EMIT_RUNTIME_ASSERTS": "nodes of the captured program",
    "TENSORIFY_PYTHON_SCALARS": "scalars of the captured program become tensors",
    "PYTORCH_JIT": "0 switches scripting off",
    "TIMM_*": "timm builds other layers: fused attention, NaFlex",
    "TRANSFORMERS_SDPA_FORCE_GQA": "transformers calls another attention",
    "USE_HUB_KERNELS": "transformers replaces layers",
    "PYTHONOPTIMIZE": "removes assertions, which scripting translates",
    "ATEN_CPU_CAPABILITY": "torch's kernels, and with them the numbers that a seed gives",
    "MKL_CBWR": "rounding of matrix products that are folded into constants, as the next ones",
    "MKL_ENABLE_INSTRUCTIONS": "as MKL_CBWR",
    "ONEDNN_MAX_CPU_ISA": "as MKL_CBWR",
    "DNNL_MAX_CPU_ISA": "its older name",
    "ONEDNN_DEFAULT_FPMATH_MODE": "as MKL_CBWR: float32 may be computed in bfloat16",
    "DNNL_DEFAULT_FPMATH_MODE": "its older name",
    "OPENBLAS_CORETYPE": "as MKL_CBWR, for numpy",
    "NPY_DISABLE_CPU_FEATURES": "as OPENBLAS_CORETYPE",
    "NPY_ENABLE_CPU_FEATURES": "as OPENBLAS_CORETYPE",
    "NVIDIA_TF32_OVERRIDE": "precision on CUDA, for the verdict of such a target",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "as NVIDIA_TF32_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG": "determinism on CUDA",
}
"""Pattern of names of environment variables → why they matter. Threads, logs, caches and paths are not among them.

What else a model's own code reads from the environment is not known, and in no key.
"""

INSTRUCTION_SETS = frozenset(
    {
        *("avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16"),
        *("avx512_fp16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
        *("asimd", "asimdhp", "asimddp", "sve", "sve2", "bf16", "i8mm", "vsx", "vx"),
    }
)
"""Flags of /proc/cpuinfo by which torch, its libraries and numpy choose kernels (aten/src/ATen/native/DispatchStub.cpp)."""


def here(packages: Packages) -> Mapping[str, Any]:
    """The parts tools, environment and platform of an export key, as they are in this process."""
    return {"tools": tools(packages), "environment": environment(os.environ), "platform": machine(Path("/"))}


@functools.cache
def fingerprint() -> str:
    """Digest of `here` in this process: a worker in which it is another one would make something else than its key says."""
    return of_value(here(Packages()))


def tools(packages: Packages) -> Mapping[str, Mapping[str, str]]:
    """Version and RECORD digest of each tool that is installed, torch's build, and Python's version."""
    found = {tool: description for tool in TOOLS if (description := packages.described(tool)) is not None}
    python = {"version": platform.python_version(), "build": sys.implementation.name}
    torch = {"torch": {**found["torch"], "build": torch_build()}} if "torch" in found else {}
    return {**found, **torch, "python": python}


def torch_build() -> str:
    """What torch's version module says of its build, as one text; read, not imported."""
    folder = sources.folder_of("torch")
    assert folder is not None, "torch is installed"
    values = _assigned(folder / "version.py")
    return ", ".join(f"{name} {values[name]}" for name in BUILD if values.get(name))


def environment(variables: Mapping[str, str]) -> Mapping[str, str]:
    """The variables that change what is exported or how it is judged; no others are ever recorded."""
    return {name: value for name, value in sorted(variables.items()) if any(fnmatchcase(name, each) for each in ENVIRONMENT)}


def machine(root: Path) -> Mapping[str, Any]:
    """System, architecture and instruction sets: the numbers that a seed gives depend on torch's kernels.

    Args:
        root: Of the file system.
    """
    return {"system": platform.system(), "architecture": platform.machine(), "instructions": sorted(_cpu_flags(root))}


def gpus(root: Path) -> Mapping[str, Any]:
    """The models of this machine's GPUs and their driver, by what the driver says in /proc; empty where there is none.

    Args:
        root: Of the file system.
    """
    driver = root / "proc/driver/nvidia"
    models = {_field(file.read_text(encoding="utf-8"), "Model") for file in driver.glob("gpus/*/information")}
    version = driver / "version"
    first = version.read_text(encoding="utf-8").partition("\n")[0] if version.is_file() else ""
    return {"models": sorted(models), "driver": " ".join(first.partition(":")[2].split())}


def _assigned(file: Path) -> Mapping[str, Any]:
    """The constants that a module assigns to names."""
    found: dict[str, Any] = {}
    for statement in ast.parse(file.read_bytes()).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                found[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=value)):
                found[name] = value
            case _:
                pass
    return found


def _cpu_flags(root: Path) -> frozenset[str]:
    """Those of the first processor that matter; none where there is no /proc."""
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    return INSTRUCTION_SETS & {*(_field(text, "flags") or _field(text, "Features")).split()}


def _field(text: str, name: str) -> str:
    """The value of the first line `name : value`; empty if there is none."""
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")
