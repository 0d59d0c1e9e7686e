"""Two real nights of one model: what was accepted, and what is worse than it in the night after."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
MODEL = """
name: night
build: {_target_: orchestrator.zoo.recurrent.LSTM, features: 4, hidden: HIDDEN, classes: 3}
weights: {seed: 0}
dims: DIMS
inputs:
  - {name: signal, shape: [BATCH, 5, 4], dtype: float32}
outputs: [scores, state]
"""


def orchestrate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    typed = [sys.executable, "-m", "orchestrator", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(typed, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def night(folder: Path, hidden: int = 8, batch: str = "batch") -> subprocess.CompletedProcess[str]:
    dims = "{batch: {min: 1, max: 8}}" if batch == "batch" else "{}"
    path = folder / "mine/model/night.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(MODEL.replace("HIDDEN", str(hidden)).replace("BATCH", batch).replace("DIMS", dims))
    return orchestrate(folder, "--config-dir", "mine", "+model=night", "cluster=inline", "verify=quick", "terminal=quiet")


def test_a_model_that_lost_an_axis_and_grew_is_red_in_the_same_night(tmp_path: Path) -> None:
    first = night(tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert orchestrate(tmp_path, "accept", "latest").returncode == 0
    assert night(tmp_path).returncode == 0
    second = night(tmp_path, hidden=16, batch="2")
    assert second.returncode == 1, second.stdout + second.stderr
    assert "baseline, interface: input signal: axis 0 was batch, and is 2" in second.stdout
    (cell,) = json.loads((tmp_path / "runs/latest/report.json").read_bytes())["cells"]
    assert (cell["status"], cell["expected"]) == ("passed", False)
    assert {each["rule"] for each in cell["regressions"]} == {"interface", "size"}
    history = orchestrate(tmp_path, "show", cell["id"])
    assert [line.split()[1] for line in history.stdout.splitlines()[-3:]] == ["passed", "passed", "passed"]
