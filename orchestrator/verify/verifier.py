"""Judges one artifact: runs the checks of the level on the files, in order, each timed, each able to fail alone."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from onnx import numpy_helper

from orchestrator.result import Artifact, Check, CheckStatus, Finding
from orchestrator.spec import ModelSpec, Target
from orchestrator.verify import native
from orchestrator.verify.base import REFERENCE_EVALUATOR, ArtifactError, Candidate, CheckFunction, Subject, Verdict
from orchestrator.verify.diagnosis import diagnosed
from orchestrator.verify.evaluator import Evaluator
from orchestrator.verify.reference import Reference
from orchestrator.verify.registry import CHECKS
from orchestrator.verify.session import Session
from orchestrator.verify.shared import Shared, key_of

TEST_DATA = "test_data_set_0"
"""As the ONNX backend tests call the folder of a model's first inputs and outputs."""


def verify(
    candidate: Candidate, threads: int, cell: str = "", shared: Shared | None = None
) -> tuple[tuple[Check, ...], tuple[Finding, ...]]:
    """Judge an artifact.

    Args:
        candidate: The artifact and what it is judged against.
        threads: That ONNX Runtime may use within an operator.
        cell: Whose artifact it is.
        shared: What earlier candidates of the unit got; None measures everything.

    Returns:
        A check for each that the level asks for, and what was seen on the way. Nothing is raised: a check that could not run
        says so.
    """
    parts = {field.name: getattr(candidate, field.name) for field in dataclasses.fields(candidate)}
    parts["artifact"] = _without_weights(candidate)
    session = runtime(candidate.path, candidate.target, threads)
    shared, key = shared or Shared(), key_of(candidate)
    with native.start(candidate.path) as complaint:
        subject = Subject(**parts, session=session, native=complaint, threads=threads)
        verdicts = list(_verdicts(subject, shared.taken_over(key)))
    shared.remember(cell, key, verdicts)
    findings = [finding for verdict in verdicts for finding in verdict.findings]
    return diagnosed(subject, [verdict.check for verdict in verdicts]), tuple(findings)


def failed(checks: Sequence[Check]) -> str | None:
    """Why an artifact does not pass, in one line: the first check that says no; None if it passes."""
    bad = [check for check in checks if check.status in (CheckStatus.FAILED, CheckStatus.ERROR)]
    return f"{bad[0].id}: {bad[0].detail}" if bad else None


def runtime(path: Path, target: Target, threads: int) -> Session | Evaluator:
    """What runs a graph on a target; it is loaded when it is first asked."""
    return Evaluator(path) if target.provider == REFERENCE_EVALUATOR else Session(path, target, threads)


def write_test_data(reference: Reference, model: ModelSpec, folder: Path) -> tuple[str, ...]:
    """Write the example as the ONNX backend tests lay it out, so that any runtime can be tried on it.

    Returns:
        Names below the folder: `test_data_set_0/input_0.pb`, `test_data_set_0/output_0.pb`, …
    """
    (folder / TEST_DATA).mkdir()
    names = []
    outputs = zip((output.name for output in model.outputs), reference.example.outputs, strict=True)
    for kind, values in (("input", reference.example.inputs.items()), ("output", outputs)):
        for index, (name, value) in enumerate(values):
            names.append(f"{TEST_DATA}/{kind}_{index}.pb")
            (folder / names[-1]).write_bytes(numpy_helper.from_array(value, name).SerializeToString())
    return tuple(names)


def _without_weights(candidate: Candidate) -> Artifact:
    """The artifact without those inputs that are weights because the exporter was asked for it."""
    asked = candidate.artifact.weights_as_inputs
    inputs = tuple(value for value in candidate.artifact.inputs if value.name not in asked)
    return dataclasses.replace(candidate.artifact, inputs=inputs)


def _verdicts(subject: Subject, taken_over: Mapping[str, Verdict]) -> Iterator[Verdict]:
    for name, registered in CHECKS.items():
        if name in taken_over:
            yield taken_over[name]
        elif subject.spec.level in registered.levels:
            began = time.perf_counter()
            verdict = _verdict(name, registered.check, subject)
            check = dataclasses.replace(verdict.check, seconds=time.perf_counter() - began)
            yield dataclasses.replace(verdict, check=check)


def _verdict(name: str, check: CheckFunction, subject: Subject) -> Verdict:
    try:
        return check(subject)
    except ArtifactError as error:
        return Verdict(check=Check(id=name, status=CheckStatus.FAILED, detail=str(error)))
    except Exception as error:
        detail = f"the check itself failed: {type(error).__name__}: {error}"
        return Verdict(check=Check(id=name, status=CheckStatus.ERROR, detail=detail))
