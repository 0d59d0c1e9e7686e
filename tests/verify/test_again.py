from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from orchestrator.verify import again
from orchestrator.verify.compare import digest
from tests.verify import samples


def test_it_prints_a_digest_for_each_output(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path / "artifact")
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    again.write(inputs, candidate.reference.example.inputs)
    command = [sys.executable, again.__file__, str(candidate.path), candidate.target.provider, "1", str(inputs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    subject = samples.subject(candidate)
    assert done.stdout.split() == [digest(values) for values in subject.answer(candidate.reference.example)]


def test_a_file_that_does_not_load_ends_the_process_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no ONNX at all")
    command = [sys.executable, again.__file__, str(tmp_path / "bad.onnx"), "CPUExecutionProvider", "1", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not load it" in done.stderr or "DecodeError" in done.stderr
