from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import orchestrator
from orchestrator.provenance import changes, host, local_devices, versions


def test_the_versions_are_those_that_are_installed() -> None:
    import msgspec

    found = versions()
    assert (found["orchestrator"], found["msgspec"]) == (orchestrator.__version__, msgspec.__version__)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "torch" in found


def test_what_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.provenance.TOOLS", ("no-such-distribution",))
    assert set(versions()) == {"orchestrator", "python"}


def test_versions_are_found_without_importing_the_tools() -> None:
    code = "import sys, orchestrator.provenance as p; p.versions(); print(sorted({'torch', 'onnx', 'ray'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_host_is_described_and_not_named() -> None:
    import platform

    facts = host()
    assert facts["cpus"] >= 1
    assert facts["memory"] > 1 << 20
    assert platform.node() not in {str(fact) for fact in facts.values()}


def test_a_machine_without_device_files_has_only_its_processor(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidiactl").touch()
    assert local_devices(tmp_path) == {"cpu"}


def test_a_device_file_of_the_driver_is_a_cuda_device(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia3").touch()
    assert local_devices(tmp_path) == {"cpu", "cuda"}


def test_what_is_not_as_it_was_is_a_line_each() -> None:
    told = changes({"a": "1", "b": "1", "gone": "1"}, {"a": "1", "b": "2", "came": "1"})
    assert [*told] == ["b 1 → 2", "came none → 1", "gone 1 → none"]
