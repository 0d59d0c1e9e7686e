from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import schema, structured

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).parents[1]
MODELS = sorted((ROOT / "conf/model").glob("*.yaml"))
TINY = yaml.safe_load((ROOT / "tests/configs/model/tiny.yaml").read_text())


def complaints(model: object) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(schema.model_schema()).iter_errors(model)]


def test_the_file_in_the_package_is_what_the_dataclasses_say() -> None:
    kept = (ROOT / "orchestrator/starter/model.schema.json").read_text()
    advice = "write it again: python -m orchestrator.schema > orchestrator/starter/model.schema.json"
    assert kept == schema.render(), advice


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.model_schema())


@pytest.mark.parametrize("path", [*MODELS, *(ROOT / "tests/configs/model").glob("*.yaml")], ids=lambda path: path.stem)
def test_every_model_follows_it(path: Path) -> None:
    assert complaints(yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize(
    "kind",
    [
        structured.ModelConfig,
        structured.InputConfig,
        structured.DimConfig,
        structured.WeightsConfig,
        structured.KnownIssueConfig,
    ],
)
def test_every_field_is_described(kind: type) -> None:
    described = schema._object(kind)["properties"]
    assert list(described) == [field.name for field in dataclasses.fields(kind)]
    assert all(field["description"] for field in described.values())


@pytest.mark.parametrize(
    "change",
    [
        {"outptus": ["logits"]},
        {"name": None},
        {"name": 3},
        {"dims": {"batch": {"min": 0}}},
        {"dims": {"batch": {"maximum": 7}}},
        {"inputs": [{"shape": [1]}]},
        {"inputs": [{"name": "x", "shape": [0]}]},
        {"inputs": [{"name": "x", "dtype": "float33"}]},
        {"inputs": [{"name": "x", "range": [1]}]},
        {"outputs": [{"name": "y", "rtol": -1}]},
        {"weights": {"sha256": "abc"}},
        {"mode": "training"},
        {"build": {"features": 3}},
        {"known_issues": [{"cells": "*", "status": "passed", "reason": "x"}]},
        {"known_issues": [{"cells": "*", "status": "crashed"}]},
    ],
    ids=str,
)
def test_a_mistake_is_seen_in_the_editor(change: dict[str, Any]) -> None:
    assert complaints(TINY) == []
    assert complaints({**TINY, **change}) != []


@pytest.mark.parametrize("key", ["name", "build", "weights"])
def test_what_a_model_needs_is_required(key: str) -> None:
    assert complaints({name: value for name, value in TINY.items() if name != key}) == [f"'{key}' is a required property"]
