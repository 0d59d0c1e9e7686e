from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from orchestrator.result import CheckStatus
from orchestrator.spec import VerifyLevel
from orchestrator.verify import determinism
from orchestrator.verify.base import ArtifactError, Candidate
from orchestrator.verify.session import Session
from tests.verify import samples


def strict(candidate: Candidate) -> Candidate:
    return replace(candidate, spec=replace(candidate.spec, level=VerifyLevel.STRICT))


def test_an_artifact_that_repeats_itself_passes(tmp_path: Path) -> None:
    check = determinism.check(samples.subject(samples.pair(tmp_path))).check
    assert (check.status, check.detail) == (CheckStatus.PASSED, "the same bits twice in one session")


def test_the_smallest_probe_is_repeated_because_it_costs_least(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = samples.pair(tmp_path)
    rows: list[int] = []
    monkeypatch.setattr(Session, "__call__", lambda _, inputs: rows.append(inputs["left"].size + inputs["right"].size))
    monkeypatch.setattr(determinism, "_digests", lambda _: [])
    determinism.check(samples.subject(candidate))
    sizes = [sum(values.size for values in probe.inputs.values()) for probe in candidate.reference.probes]
    assert rows == [min(sizes)] * 2
    assert min(sizes) < sizes[0]


def test_an_artifact_that_does_not_run_at_the_smallest_sizes_is_asked_on_the_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def frozen(_: Session, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        if len(inputs["left"]) == 1:
            raise ArtifactError("a size is frozen")
        return [inputs["left"], inputs["right"]]

    monkeypatch.setattr(Session, "__call__", frozen)
    assert determinism.check(samples.subject(samples.pair(tmp_path))).check.status is CheckStatus.PASSED


def test_strict_asks_a_second_process(tmp_path: Path) -> None:
    check = determinism.check(samples.subject(strict(samples.pair(tmp_path)))).check
    assert (check.status, check.detail) == (
        CheckStatus.PASSED,
        "the same bits twice in one session and once in another process",
    )


def test_a_random_operator_is_told_with_the_output_that_it_reaches(tmp_path: Path) -> None:
    def noisy(proto: onnx.ModelProto) -> None:
        last = next(node for node in proto.graph.node if "scores" in node.output)
        last.output[list(last.output).index("scores")] = "exact"
        for node in proto.graph.node:
            node.input[:] = ["exact" if name == "scores" else name for name in node.input]
        proto.graph.node.extend(
            [
                helper.make_node("RandomNormalLike", ["exact"], ["noise"]),
                helper.make_node("Add", ["exact", "noise"], ["scores"]),
            ]
        )

    check = determinism.check(samples.subject(samples.damaged(strict(samples.pair(tmp_path)), noisy))).check
    assert check.status is CheckStatus.FAILED
    assert check.detail == "scores has other bits the second time in one session; scores has other bits in a second process"
