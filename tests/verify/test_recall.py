from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.result import Finding
from orchestrator.spec import VerifyLevel
from orchestrator.verify import recall, reference
from orchestrator.verify.reference import Answers
from tests.verify import samples


def answers(dtype: str = "float32", level: VerifyLevel = VerifyLevel.STANDARD) -> Answers:
    spec = dataclasses.replace(samples.SPEC, level=level)
    return reference.answer(samples.seeded(samples.Pair).to(getattr(reference.torch, dtype)), samples.PAIR, dtype, spec)


def comparable(value: Any) -> Any:
    """Arrays by type, shape and bytes, so that NaN is equal to itself."""
    if isinstance(value, np.ndarray):
        return value.dtype.name, value.shape, value.tobytes()
    if dataclasses.is_dataclass(value):
        return {field.name: comparable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return [(key, comparable(item)) for key, item in value.items()]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [comparable(item) for item in value]
    return value


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("level", [VerifyLevel.QUICK, VerifyLevel.STANDARD])
def test_answers_come_back_as_they_were(dtype: str, level: VerifyLevel, tmp_path: Path) -> None:
    asked = answers(dtype, level)
    asked = dataclasses.replace(asked, findings=(Finding(kind="odd", message="seen"),), vacuous={"sum": "is 0"})
    (tmp_path / "answers").write_bytes(recall.dump(asked))
    kept = recall.load(tmp_path / "answers")
    assert comparable(kept) == comparable(asked)


def test_equal_answers_are_equal_bytes() -> None:
    assert recall.dump(answers()) == recall.dump(answers())


@pytest.mark.parametrize(
    "content", [b"", b"no safetensors file", recall.save({}, {"other": "{}"}), recall.save({}, {recall.ENTRY: "{}"})]
)
def test_what_another_version_kept_is_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "answers").write_bytes(content)
    assert recall.load(tmp_path / "answers") is None
