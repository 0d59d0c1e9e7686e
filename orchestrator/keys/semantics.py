"""Which fields of a declaration mean something: for the artifact, for the verdict, or for neither.

A field that is in no table here is in no key. A test knows all fields: a new one must be in a table, or in the test's list of
those that mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from exporters.base import Dim, TensorSpec
from orchestrator.spec import BuildSpec, CaseSpec, ExporterSpec, ModelSpec, OutputSpec, Target, VerifySpec

Fields = Mapping[type, tuple[str, ...]]

_TENSOR = ("name", "shape", "dtype", "keyword", "generator", "range")

EXPORTED: Fields = {
    BuildSpec: ("target", "arguments"),
    Dim: ("name", "min", "max"),
    ExporterSpec: ("name", "options"),
    ModelSpec: ("build", "mode", "dims", "inputs", "outputs", "select", "rename", "exportable"),
    OutputSpec: ("name", "constant"),
    TensorSpec: _TENSOR,
    # The example is drawn with it, and what is traced may depend on the example.
    VerifySpec: ("seed",),
}
"""What an artifact is made from; the weights, which are known by their bytes, are not here."""

VERIFIED: Fields = {
    CaseSpec: ("name", "inputs"),
    ModelSpec: ("outputs", "cases"),
    OutputSpec: ("name", "rtol", "atol"),
    Target: ("device", "provider"),
    TensorSpec: _TENSOR,
    VerifySpec: ("level", "seed", "k"),
}
"""What a verdict depends on beside the artifact and what that was made from."""


def picked(value: Any, fields: Fields) -> Any:
    """A declaration as plain JSON values, with the fields that the table has for its type.

    Args:
        value: A dataclass of the table, or a plain value with such in it.
        fields: `EXPORTED` or `VERIFIED`.
    """
    if is_dataclass(value):
        return {name: picked(getattr(value, name), fields) for name in fields[type(value)]}
    if isinstance(value, Mapping):
        return {name: picked(item, fields) for name, item in value.items()}
    return [picked(item, fields) for item in value] if isinstance(value, list | tuple) else value


def order(arguments: Any) -> Iterator[str]:
    """All keys of the mappings in a model's arguments as they stand: a mapping of layers is built in its order."""
    if isinstance(arguments, Mapping):
        for name, item in arguments.items():
            yield name
            yield from order(item)
    elif isinstance(arguments, Sequence) and not isinstance(arguments, str):
        for item in arguments:
            yield from order(item)
