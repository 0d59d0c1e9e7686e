"""The same export elsewhere gives the same bytes: another folder, home, locale, time zone and hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
MODELS = "+model=lstm,early_exit"
HERE = {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "UTC", "LANG": "C"}
THERE = {"PYTHONHASHSEED": "4242", "LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo", "LANG": "C.UTF-8"}


def delivered(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Path → SHA-256 of everything that was delivered, by the run's own sums."""
    home = folder / "home"
    home.mkdir(parents=True)
    command = [sys.executable, "-m", "orchestrator", MODELS, "exporter=dynamo,torchscript,torchscript_script", "verify=quick"]
    subprocess.run(
        [*command, f"hydra.sweep.dir={folder / 'runs'}", "cluster=inline"],
        cwd=folder,
        env={**os.environ, **environment, "HOME": str(home), "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    artifacts = (folder / "runs/latest/artifacts").resolve()
    return {
        f"{sums.parent.relative_to(artifacts)}/{name}": digest
        for sums in artifacts.rglob("SHA256SUMS")
        for digest, _, name in (line.partition("  ") for line in sums.read_text().splitlines())
    }


def test_all_that_is_delivered_has_the_same_bytes_elsewhere(tmp_path: Path) -> None:
    here = delivered(tmp_path / "here", HERE)
    there = delivered(tmp_path / "a longer name" / "there", THERE)
    assert sum(name.endswith(".onnx") for name in here) == 5
    assert here == there
