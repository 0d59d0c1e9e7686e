from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.result import CheckStatus
from orchestrator.verify.base import ArtifactError, Subject, judged
from orchestrator.verify.session import Session
from tests.verify import samples


def subject(folder: Path) -> Subject:
    candidate = samples.pair(folder)
    parts = {name: getattr(candidate, name) for name in candidate.__dataclass_fields__}
    return Subject(**parts, session=Session(candidate.path, candidate.target, threads=1), native=lambda: None)


def test_an_answer_is_computed_once_for_all_checks(tmp_path: Path) -> None:
    shared = subject(tmp_path)
    first = shared.answer(shared.reference.example)
    assert shared.answer(shared.reference.example) is first


def test_a_file_that_is_no_onnx_is_the_artifacts_fault(tmp_path: Path) -> None:
    shared = subject(tmp_path)
    shared.path.write_bytes(b"\xff")
    with pytest.raises(ArtifactError, match="is no ONNX file"):
        _ = shared.proto


def test_problems_are_told_together() -> None:
    assert judged("x", [], "fine").check.status is CheckStatus.PASSED
    failed = judged("x", ["one", "two"], "fine").check
    assert (failed.status, failed.detail) == (CheckStatus.FAILED, "one; two")


def test_of_many_problems_the_first_are_told() -> None:
    assert judged("x", list("abcdefg"), "fine").check.detail == "a; b; c; d; e; and 2 more"
