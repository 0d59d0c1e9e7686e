from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import pytest

from orchestrator.build import sources
from orchestrator.keys import surroundings
from orchestrator.keys.packages import Packages


def test_tools_have_their_exact_version_and_files() -> None:
    tools = surroundings.tools(Packages())
    assert {name: tools[name]["version"] for name in ("torch", "onnx", "onnx-ir", "onnxscript", "numpy")} == {
        name: metadata.version(name) for name in ("torch", "onnx", "onnx-ir", "onnxscript", "numpy")
    }
    assert tools["python"] == {"version": platform.python_version(), "build": "cpython"}
    assert all(len(tool["record"]) == 64 for name, tool in tools.items() if name != "python")


def test_the_build_of_torch_is_read_from_its_source() -> None:
    torch = pytest.importorskip("torch")
    build = surroundings.tools(Packages())["torch"]["build"]
    assert f"git_version {torch.version.git_version}" in build
    assert ("cuda" in build) == (torch.version.cuda is not None)


def test_a_build_is_told_apart_by_what_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "version.py").write_text(
        "from typing import Optional\ndebug = False\ncuda: Optional[str] = '13'\nx = y.z\nhip: str | None = None\n"
    )
    package = sources.Module("torch", tmp_path / "__init__.py", (tmp_path,))
    monkeypatch.setattr(sources, "find", lambda _: package)
    assert surroundings.torch_build() == "cuda 13"


def test_only_listed_variables_are_recorded() -> None:
    variables = {
        "TORCH_ONNX_ENABLE_OPTIMIZATION": "1",
        "TIMM_FUSED_ATTN": "0",
        "ATEN_CPU_CAPABILITY": "avx2",
        "TORCH_LOGS": "+all",
        "TORCH_HOME": "/home/somebody",
        "HF_TOKEN": "secret",
        "OMP_NUM_THREADS": "4",
        "HOSTNAME": "somewhere",
        "LC_ALL": "C",
    }
    assert surroundings.environment(variables) == {
        "ATEN_CPU_CAPABILITY": "avx2",
        "TIMM_FUSED_ATTN": "0",
        "TORCH_ONNX_ENABLE_OPTIMIZATION": "1",
    }


@pytest.mark.parametrize(
    ("cpuinfo", "instructions"),
    [
        (
            "processor : 0\nflags\t\t: fpu avx2 fma avx512f md_clear\n\nprocessor : 1\nflags : amx_tile\n",
            ["avx2", "avx512f", "fma"],
        ),
        ("processor : 0\nFeatures\t: fp asimd evtstrm sve bf16\n", ["asimd", "bf16", "sve"]),
        ("", []),
    ],
)
def test_a_machine_is_known_by_its_instruction_sets(tmp_path: Path, cpuinfo: str, instructions: list[str]) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(cpuinfo)
    expected = {"system": platform.system(), "architecture": platform.machine(), "instructions": instructions}
    assert surroundings.machine(tmp_path) == expected


def test_a_machine_without_proc_has_no_known_instruction_sets(tmp_path: Path) -> None:
    assert surroundings.machine(tmp_path)["instructions"] == []


def test_gpus_are_known_by_model_and_driver_not_by_serial_number(tmp_path: Path) -> None:
    assert surroundings.gpus(tmp_path) == {"models": [], "driver": ""}
    for place in ("0000:01:00.0", "0000:02:00.0"):
        gpu = tmp_path / "proc/driver/nvidia/gpus" / place
        gpu.mkdir(parents=True)
        (gpu / "information").write_text(f"Model: \t\t NVIDIA H100\nIRQ:   \t\t 17\nGPU UUID: \t GPU-{place}\n")
    (tmp_path / "proc/driver/nvidia/version").write_text("NVRM version: NVIDIA Kernel Module  580.1\nGCC version: 12\n")
    assert surroundings.gpus(tmp_path) == {"models": ["NVIDIA H100"], "driver": "NVIDIA Kernel Module 580.1"}


def test_a_process_has_all_three_parts() -> None:
    assert [*surroundings.here(Packages())] == ["tools", "environment", "platform"]
