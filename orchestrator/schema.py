"""The JSON schema of a model's YAML file, for editors: made of the dataclasses in `structured` and their docstrings.

`python -m orchestrator.schema` prints it; `starter/model.schema.json` is what it printed last. It knows types and closed sets
of values; the rest is `declaration`'s. An interpolation in the place of a number or a flag is not covered.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any

from orchestrator import structured
from orchestrator.declaration import DTYPES, GENERATORS
from orchestrator.result import Status

PLAIN: Mapping[object, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Any: {},
}
REQUIRED = {
    "ModelConfig": ["name", "build", "weights"],
    "InputConfig": ["name"],
    "KnownIssueConfig": ["cells", "status", "reason"],
}
"""By class: the schema of Hydra gives every field a default, so that all that is missing can be told together."""
_TOLERANCE = {"type": "number", "minimum": 0}
NARROWER: Mapping[tuple[str, str], dict[str, Any]] = {
    ("DimConfig", "min"): {"minimum": 1},
    ("InputConfig", "dtype"): {"enum": list(DTYPES)},
    ("InputConfig", "generator"): {"enum": [*GENERATORS, None]},
    ("InputConfig", "range"): {"minItems": 2, "maxItems": 2},
    ("InputConfig", "shape"): {"items": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]}},
    ("WeightsConfig", "url"): {"pattern": "^(https?|file)://"},
    ("WeightsConfig", "sha256"): {"pattern": "^[0-9a-fA-F]{64}$"},
    ("KnownIssueConfig", "status"): {"enum": [status.value for status in Status if status is not Status.PASSED]},
    ("ModelConfig", "mode"): {"enum": ["eval", "train"]},
    ("ModelConfig", "build"): {"properties": {"_target_": {"type": "string"}}, "required": ["_target_"]},
    ("ModelConfig", "outputs"): {
        "items": {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "rtol": _TOLERANCE,
                        "atol": _TOLERANCE,
                        "constant": {"type": "boolean"},
                    },
                    "required": ["name"],
                    "additionalProperties": False,
                },
            ]
        }
    },
}
"""By class and field: what the type does not say."""


def model_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a file of the group model."""
    described = _object(structured.ModelConfig)
    # Hydra's own key of a file that builds on another.
    described["properties"]["defaults"] = {
        "type": "array",
        "description": "Files that this one builds on, as Hydra reads them.",
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A model to export", **described}


def render() -> str:
    """The schema as the text of its file."""
    return json.dumps(model_schema(), indent=2, ensure_ascii=False) + "\n"


def _object(kind: type) -> dict[str, Any]:
    hints, docs, required = typing.get_type_hints(kind, vars(structured)), _field_docs(kind), REQUIRED.get(kind.__name__, [])
    properties = {}
    for field in dataclasses.fields(kind):
        described = _type(hints[field.name], nullable=field.name not in required)
        narrower = NARROWER.get((kind.__name__, field.name), {})
        properties[field.name] = {**described, **narrower, "description": docs[field.name]}
    return {
        "description": inspect.getdoc(kind),
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _type(hint: Any, nullable: bool = True) -> dict[str, Any]:
    if dataclasses.is_dataclass(hint):
        return _object(typing.cast(type, hint))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        (inner,) = (argument for argument in arguments if argument is not type(None))
        described = _type(inner)
        return {**described, "type": [described["type"], "null"]} if nullable else described
    if origin is list:
        return {"type": "array", "items": _type(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type(arguments[1])}
    return dict(PLAIN[hint])


def _field_docs(kind: type) -> dict[str, str]:
    """The text under each field; a field without one is a mistake of ours."""
    (definition,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for statement, after in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            docs[ast.unparse(statement.target)] = str(after.value.value)
    return docs


if __name__ == "__main__":
    sys.stdout.write(render())
