from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.verify import machine

GPU = any(Path("/dev").glob("nvidia[0-9]*"))


def test_every_provider_is_tried_on_a_graph(capfd: pytest.CaptureFixture[str]) -> None:
    machine.main()
    found = json.loads(capfd.readouterr().out)
    assert found["providers"]["CPUExecutionProvider"] is None
    assert bool(found["cuda"]) is GPU
    assert GPU or all(failure for name, failure in found["providers"].items() if name != "CPUExecutionProvider")
