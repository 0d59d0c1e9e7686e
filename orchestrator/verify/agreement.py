"""What `parity` and `shapes` have in common: the artifact's answers on some probes against eager's, in one verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.result import Check, CheckStatus, ProbeError
from orchestrator.spec import OutputSpec
from orchestrator.verify.base import ArtifactError, Subject, Verdict
from orchestrator.verify.compare import Comparison, Tolerance, compare, digest, is_floating, rms
from orchestrator.verify.reference import Probe


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """One output on one probe."""

    place: str
    comparison: Comparison


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What came of a probe."""

    probe: str
    compared: Sequence[_Compared]
    answers: str
    """Digest, see `ProbeError`."""


def agreement(check: str, subject: Subject, probes: Sequence[Probe], problems: Sequence[str] = ()) -> Verdict:
    """Compare on the probes.

    Args:
        check: Identifier of the check that asks.
        subject: The artifact.
        probes: Of its reference.
        problems: What is wrong besides.
    """
    asked = [_asked(subject, probe) for probe in probes]
    compared = [one for each in asked for one in each.compared]
    worst = _worst(compared)
    failures = [f"{one.place}: {one.comparison.problem}" for one in compared if one.comparison.problem]
    if len(failures) > 1:
        failures = [f"{failures[0]} (and {len(failures) - 1} more of {len(compared)} comparisons)"]
    failures = [*problems, *failures]
    return Verdict(
        check=Check(
            id=check,
            status=CheckStatus.FAILED if failures else CheckStatus.PASSED,
            detail="; ".join(failures) or _summary(worst, len(compared)),
            # Without a bound nothing was measured: it did not answer, or must be equal.
            measured=worst.comparison.error if worst.comparison.bound else None,
            threshold=worst.comparison.bound or None,
            probes=tuple(_probe_error(each) for each in asked),
        )
    )


def _worst(compared: Sequence[_Compared]) -> _Compared:
    return max(compared, key=lambda one: one.comparison.share)


def _probe_error(asked: _Asked) -> ProbeError:
    worst = _worst(asked.compared).comparison
    # Without a bound nothing was measured, see above.
    measured = worst.error if worst.bound else None
    return ProbeError(probe=asked.probe, measured=measured, threshold=worst.bound or None, answers=asked.answers)


def tolerance_of(output: OutputSpec) -> Tolerance | None:
    """What the user allows for an output, if anything."""
    if output.rtol is None and output.atol is None:
        return None
    return Tolerance(rtol=output.rtol or 0.0, atol=output.atol or 0.0)


def _asked(subject: Subject, probe: Probe) -> _Asked:
    try:
        answers = subject.answer(probe)
    except ArtifactError as error:
        failure = _Compared(place=probe.name, comparison=Comparison(problem=str(error)))
        return _Asked(probe=probe.name, compared=[failure], answers="")
    return _Asked(probe=probe.name, compared=[*_compared(subject, probe, answers)], answers=_digest(answers))


def _digest(answers: Sequence[np.ndarray]) -> str:
    """The first half of a SHA-256 over types, shapes and bits: it tells answers apart, and keeps no secret."""
    parts = (f"{values.dtype} {values.shape} {digest(values)}" for values in answers)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _compared(subject: Subject, probe: Probe, answers: Sequence[np.ndarray]) -> Iterator[_Compared]:
    if len(answers) != len(probe.outputs):
        problem = f"{len(answers)} outputs instead of {len(probe.outputs)}"
        yield _Compared(place=probe.name, comparison=Comparison(problem=problem))
        return
    example = subject.reference.example
    for index, output in enumerate(subject.model.outputs):
        exact = None if probe.exact is None else probe.exact[index]
        scale = rms(example.outputs[index]) if is_floating(example.outputs[index].dtype) else 0.0
        comparison = compare(
            answers[index], probe.outputs[index], exact, k=subject.spec.k, tolerance=tolerance_of(output), scale=scale
        )
        yield _Compared(place=f"{output.name} on {probe.name}", comparison=comparison)


def _summary(worst: _Compared, count: int) -> str:
    comparison = worst.comparison
    ratio = "" if comparison.ratio is None else f", {comparison.ratio:.1f} x eager's own"
    return f"{count} comparisons; worst {worst.place}: {comparison.error:.1e} of {comparison.bound:.1e} allowed{ratio}"
