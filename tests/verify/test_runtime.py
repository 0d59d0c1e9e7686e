from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.result import CheckStatus
from orchestrator.verify.base import Subject
from orchestrator.verify.runtime import check
from tests import synthetic
from tests.verify import samples

TENSORRT = replace(synthetic.CUDA, name="tensorrt", provider="TensorrtExecutionProvider")


@dataclass
class FakeSession:
    """Says where nodes ran."""

    ran: frozenset[str]

    def providers(self) -> frozenset[str]:
        return self.ran


@pytest.mark.parametrize(
    ("target", "ran", "problem"),
    [
        (synthetic.CPU, {"CPUExecutionProvider"}, None),
        (synthetic.CUDA, {"CUDAExecutionProvider"}, None),
        (synthetic.CUDA, {"CUDAExecutionProvider", "CPUExecutionProvider"}, None),
        (synthetic.CUDA, {"CPUExecutionProvider"}, "CUDAExecutionProvider took no node; they ran on CPUExecutionProvider"),
        (synthetic.CPU, set(), "CPUExecutionProvider took no node; they ran on none"),
        (TENSORRT, {"TensorrtExecutionProvider", "CUDAExecutionProvider"}, None),
        (TENSORRT, {"CUDAExecutionProvider"}, "TensorrtExecutionProvider took no node"),
    ],
)
def test_the_declared_provider_must_have_run_it(tmp_path: Path, target: Any, ran: set[str], problem: str | None) -> None:
    candidate = samples.pair(tmp_path)
    parts = {name: getattr(candidate, name) for name in candidate.__dataclass_fields__}
    parts |= {"target": target, "session": FakeSession(frozenset(ran)), "native": lambda: None}
    verdict = check(Subject(**parts))
    found = verdict.check
    others = ran - {target.provider}
    assert [f.message for f in verdict.findings] == ([f"some nodes ran on {min(others)}"] if others and not problem else [])
    assert found.status is (CheckStatus.FAILED if problem else CheckStatus.PASSED)
    assert problem is None or problem in found.detail
