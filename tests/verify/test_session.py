from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from orchestrator.verify.base import ArtifactError
from orchestrator.verify.session import Session, takes_ir_version
from tests import synthetic
from tests.verify import samples


def test_it_answers_in_the_artifacts_order_and_ignores_inputs_that_it_has_not(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    inputs = {**candidate.reference.example.inputs, "unknown": np.zeros(1)}
    scores, best = Session(candidate.path, synthetic.CPU, threads=1)(inputs)
    assert (scores.shape, best.shape) == ((2, 5), (2,))


def test_what_does_not_load_or_run_is_the_artifacts_fault_in_one_line(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    with pytest.raises(ArtifactError, match="ONNX Runtime fails on it") as failed:
        Session(candidate.path, synthetic.CPU, threads=1)({"left": np.zeros((2, 3), np.float32)})
    assert "\n" not in str(failed.value)
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    with pytest.raises(ArtifactError, match="does not load it"):
        Session(tmp_path / "bad.onnx", synthetic.CPU, threads=1)({})


@pytest.mark.skipif(any(Path("/dev").glob("nvidia[0-9]*")), reason="has a GPU")
def test_a_provider_that_is_not_there_never_becomes_the_cpu(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    with pytest.raises(ArtifactError):
        Session(candidate.path, synthetic.CUDA, threads=1)(candidate.reference.example.inputs)


def test_ir_versions_are_found_by_trying() -> None:
    assert takes_ir_version(8)
    assert not takes_ir_version(99)


def test_importing_it_writes_nothing_into_the_home_folder(tmp_path: Path) -> None:
    code = "import orchestrator.verify.session, threading, os; print(len(os.listdir('/proc/self/task')))"
    environment = {**os.environ, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert list(tmp_path.iterdir()) == []
