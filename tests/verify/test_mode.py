from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from exporters.base import Dim, TensorSpec
from orchestrator.result import CheckStatus
from orchestrator.spec import OutputSpec
from orchestrator.verify import mode, reference
from orchestrator.verify.base import Candidate, Verdict
from tests.verify import samples

MODEL = replace(
    samples.PAIR,
    dims={"batch": Dim(name="batch", min=2, max=9)},
    inputs=(TensorSpec(name="values", shape=("batch", 8), dtype="float32"),),
    outputs=(OutputSpec(name="answer"),),
)


def normalised() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.BatchNorm1d(6))


def dropping() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Dropout(0.5))


def judged(candidate: Candidate) -> Verdict:
    return mode.check(samples.subject(candidate))


def exported_as(folder: Path, exported: torch.nn.Module, declared: torch.nn.Module) -> Candidate:
    """An artifact of one module that is judged as that of another."""
    artifact = samples.make(folder, exported, MODEL)
    return replace(artifact, module=declared, reference=reference.compute(declared, MODEL, "float32", samples.SPEC))


@pytest.mark.parametrize("factory", [normalised, dropping])
def test_an_artifact_of_the_declared_mode_is_far_from_the_other(tmp_path: Path, factory: Any) -> None:
    check = judged(samples.make(tmp_path, samples.seeded(factory), MODEL)).check
    assert check.status is CheckStatus.PASSED
    assert check.measured is not None
    assert check.measured < 1e-3
    assert check.detail.endswith("of the way to train mode; flags, buffers and weights are as before the export")


@pytest.mark.parametrize("factory", [normalised, dropping])
def test_an_artifact_that_answers_as_in_training_fails(tmp_path: Path, factory: Any) -> None:
    eval_mode = samples.seeded(factory)
    check = judged(exported_as(tmp_path, copy.deepcopy(eval_mode).train(), eval_mode)).check
    assert check.status is CheckStatus.FAILED
    assert "as the model in train mode does" in check.detail


def test_an_artifact_of_eval_mode_fails_where_training_mode_is_declared(tmp_path: Path) -> None:
    eval_mode = samples.seeded(normalised)
    check = judged(exported_as(tmp_path, eval_mode, copy.deepcopy(eval_mode).train())).check
    assert check.status is CheckStatus.FAILED
    assert "as the model in eval mode does" in check.detail


def test_a_model_without_modes_passes_and_says_why(tmp_path: Path) -> None:
    candidate = samples.make(tmp_path, samples.seeded(lambda: torch.nn.Linear(8, 3)), MODEL)
    check = judged(candidate).check
    assert (check.status, check.measured) == (CheckStatus.PASSED, None)
    assert check.detail.startswith("the model answers alike in both modes")
    given = replace(candidate, artifact=replace(candidate.artifact, made_from="given"))
    assert judged(given).check.status is CheckStatus.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        (lambda module: module[1].train(), "the training flag of 1"),
        (lambda module: module[1].running_mean.add_(1), "the buffer 1.running_mean"),
        (lambda module: module[0].weight.data.mul_(2), "the parameter 0.weight"),
    ],
)
def test_what_an_exporter_leaves_changed_is_told(tmp_path: Path, deed: Any, told: str) -> None:
    candidate = samples.make(tmp_path, samples.seeded(normalised), MODEL)
    deed(candidate.module)
    check = judged(candidate).check
    assert check.status is CheckStatus.FAILED
    assert check.detail == f"the export left {told} changed"


def test_a_submodule_in_another_mode_than_declared_is_found_and_judged_as_it_is(tmp_path: Path) -> None:
    module = samples.seeded(normalised)
    module[1].train()  # type: ignore[index]
    right = judged(samples.make(tmp_path, module, MODEL))
    assert right.check.status is CheckStatus.PASSED, right.check.detail
    assert [finding.message for finding in right.findings] == ["not in eval mode as declared: 1"]
    (tmp_path / "wrong").mkdir()
    wrong = judged(exported_as(tmp_path / "wrong", samples.seeded(normalised), module)).check
    assert "as the model in eval mode does" in wrong.detail
