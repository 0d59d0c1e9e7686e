from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import UserError
from orchestrator.fleet import Fleet, read_fleet
from orchestrator.result import Status

FILE = Path("/configs/fleet/mine.yaml")
MODELS = ("bert_base", "gpt2", "resnet50")
ISSUE = {"cells": "gpt2-*", "status": "check_failed", "reason": "attention mask", "owner": None, "expires": None}


def read(**changes: Any) -> Fleet:
    raw = {"models": ["*"], "matrix": None, "exclude": [], "overrides": {}, "known_issues": [], "deliver": None, **changes}
    return read_fleet("mine", raw, FILE, MODELS)


def problems(**changes: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        read(**changes)
    return list(caught.value.problems)


def test_patterns_and_names_become_models_each_once_in_the_declared_order() -> None:
    assert read(models=["resnet50", "b*", "*"]).models == ("resnet50", "bert_base", "gpt2")


def test_the_matrix_is_written_as_on_the_command_line() -> None:
    matrix = {"exporter": ["dynamo", "torchscript"], "opset": "range(18,21)", "dtype": "float16", "target": ["cpu"]}
    assert read(matrix=matrix).matrix == (
        "exporter=dynamo,torchscript",
        "opset=range(18,21)",
        "dtype=float16",
        "target=cpu",
    )


def test_overrides_hold_for_the_models_of_their_pattern_after_the_matrix() -> None:
    fleet = read(matrix={"opset": [20]}, overrides={"*": ["verify=quick"], "gpt2": ["opset=18", "limits.seconds=900"]})
    assert fleet.of("resnet50") == ("opset=20", "verify=quick")
    assert fleet.of("gpt2") == ("opset=20", "verify=quick", "opset=18", "limits.seconds=900")


def test_known_issues_are_read_as_those_of_models() -> None:
    (issue,) = read(known_issues=[ISSUE]).known_issues
    assert (issue.cells, issue.status) == ("gpt2-*", Status.CHECK_FAILED)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"models": []}, "models: is empty"),
        ({"models": ["gpt3"]}, "models: gpt3: there is no model 'gpt3'; did you mean gpt2?"),
        ({"models": ["vit_*"]}, "models: vit_*: matches none; there are: bert_base, gpt2, resnet50"),
        ({"matrix": {}}, "matrix: is empty; name axes, of exporter, opset, dtype, target"),
        ({"matrix": {"opset": []}}, "matrix.opset: is empty"),
        ({"matrix": {"opset": None}}, "matrix.opset: is empty"),
        ({"matrix": {"verify": ["quick"]}}, "matrix.verify: is no axis; they are exporter, opset, dtype, target"),
        ({"overrides": {"vit_*": ["verify=quick"]}}, "overrides: 'vit_*' is none of its models"),
        ({"known_issues": [{**ISSUE, "reason": None}]}, "known_issues[0].reason: is missing"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(changes: dict[str, Any], complaint: str) -> None:
    (problem,) = problems(**changes)
    assert problem.startswith(f"{FILE}: {complaint}")


def test_mistakes_are_told_together() -> None:
    assert len(problems(models=["gpt3"], matrix={"opset": [], "verify": 1})) == 3
