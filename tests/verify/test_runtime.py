from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from orchestrator.result import CheckStatus
from orchestrator.spec import VerifyLevel
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


def test_strict_runs_it_without_the_runtimes_optimisations_too(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    strict = replace(candidate, spec=replace(candidate.spec, level=VerifyLevel.STRICT))
    found = check(samples.subject(strict)).check
    assert (found.status, found.detail) == (
        CheckStatus.PASSED,
        "CPUExecutionProvider ran it, and answers within the bounds with its optimisations off",
    )

    def scaled(proto: onnx.ModelProto) -> None:
        product = next(node for node in proto.graph.node if node.op_type == "Gemm")
        next(attribute for attribute in product.attribute if attribute.name == "alpha").f = 1.01

    bad = samples.damaged(strict, scaled)
    found = check(samples.subject(bad)).check
    assert found.status is CheckStatus.FAILED
    assert found.detail.startswith("with its optimisations off scores departs: error ")
