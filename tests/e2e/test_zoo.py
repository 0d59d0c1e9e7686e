"""The whole zoo, exported and proved with every exporter that a model is declared to pass with; for `make test-all`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.declared import NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_the_zoo_ends_as_expected(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "orchestrator", f"+model={name}", "exporter=dynamo,torchscript", "cluster=inline"]
    done = subprocess.run(
        [*command, f"hydra.sweep.dir={tmp_path}"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ended as expected" in done.stdout
