"""Whether the artifact answers as the model does at the edges: large, tiny, nearly constant, not finite, ends of ranges.

Where eager itself cannot tell right from wrong there, because it is far from float64 or overflows alone, nothing is compared.
Where only the runtime's kernels lose a NaN, and not the graph by ONNX's own evaluator, it is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from orchestrator.result import Check, CheckStatus, Finding
from orchestrator.verify.base import REFERENCE_EVALUATOR, ArtifactError, Subject, Verdict, judged
from orchestrator.verify.compare import USELESS, Comparison, compare, floor, is_floating, kinds_differ, relative_error
from orchestrator.verify.evaluator import Evaluator
from orchestrator.verify.reference import Probe

AMPLIFIED = {"large values": 8.0}
"""By edge, how many times k is allowed: rounding is amplified there, and eager's own error is one draw of it. The worst of
forty architectures of timm was 30 x eager's own (nf_regnet_b0); what overflows otherwise is off by orders of magnitude more."""


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """One output on one edge."""

    place: str
    comparison: Comparison
    runtimes_own: str | None = None
    """What the runtime does to values that are not finite, and the graph does not."""


def check(subject: Subject) -> Verdict:
    """Every output on every edge that eager answers to."""
    if not subject.reference.edges:
        return _not_applicable("no input has an edge that eager answers to")
    compared = [one for probe in subject.reference.edges for one in _compared(subject, probe)]
    if not compared:
        return _not_applicable("eager itself overflows or is far from float64 on all of them")
    worst = max(compared, key=lambda one: one.comparison.share)
    problems = [f"{one.place}: {one.comparison.problem}" for one in compared if one.comparison.problem]
    names = ", ".join(probe.name for probe in subject.reference.edges)
    verdict = judged("extremes", problems, f"{len(compared)} comparisons on {names}").check
    bound = worst.comparison.bound
    return Verdict(
        check=Check(
            id=verdict.id,
            status=verdict.status,
            detail=verdict.detail,
            measured=worst.comparison.error if bound else None,
            threshold=bound or None,
        ),
        findings=tuple(_finding(one) for one in compared if one.runtimes_own),
    )


def _not_applicable(reason: str) -> Verdict:
    return Verdict(check=Check(id="extremes", status=CheckStatus.NOT_APPLICABLE, detail=reason))


def _finding(one: _Compared) -> Finding:
    reason = f"{one.place}: {one.runtimes_own}; by ONNX's own evaluator the graph answers as eager does, the kernels do not"
    return Finding(kind="runtime_not_finite", message=reason)


def _compared(subject: Subject, probe: Probe) -> Iterator[_Compared]:
    answers = subject.answer(probe)
    for index, output in enumerate(subject.model.outputs):
        exact = None if probe.exact is None else probe.exact[index]
        comparison = _comparison(
            subject, index, answers[index], probe.outputs[index], exact, AMPLIFIED.get(probe.name, 1.0) * subject.spec.k
        )
        if comparison is None:
            continue
        problem = comparison.problem
        place = f"{output.name} on {probe.name}"
        if problem and probe.exact is None and _graph_is_right(subject, probe, index):
            yield _Compared(place=place, comparison=Comparison(problem=None), runtimes_own=problem)
        else:
            yield _Compared(place=place, comparison=comparison)


def _graph_is_right(subject: Subject, probe: Probe, index: int) -> bool:
    """Whether the graph, run as the standard says, has NaN and Inf where eager has them."""
    if subject.target.provider == REFERENCE_EVALUATOR or not is_floating(probe.outputs[index].dtype):
        return False
    try:
        answer = Evaluator(subject.path, keeps_nan=True)(probe.inputs)[index]
    except ArtifactError:
        return False
    same = answer.dtype == probe.outputs[index].dtype and answer.shape == probe.outputs[index].shape
    return same and kinds_differ(answer, probe.outputs[index]) is None


def _comparison(
    subject: Subject, index: int, actual: np.ndarray, eager: np.ndarray, exact: np.ndarray | None, k: float
) -> Comparison | None:
    """None where the reference means nothing."""
    if actual.dtype != eager.dtype or actual.shape != eager.shape:
        return compare(actual, eager, None, k=subject.spec.k)
    if not is_floating(eager.dtype):
        return None if exact is None or (exact != eager).any() else compare(actual, eager, exact, k=subject.spec.k)
    if exact is None:
        return _by_pattern(subject, index, actual, eager)
    if (np.isfinite(exact) & ~np.isfinite(eager.astype(np.float64))).any() or _bound(k, eager, exact) >= USELESS:
        return None
    return compare(actual, eager, exact, k=k)


def _by_pattern(subject: Subject, index: int, actual: np.ndarray, eager: np.ndarray) -> Comparison:
    """What is not finite must be so in the same places; the rest is as near as on the example."""
    if problem := kinds_differ(actual, eager):
        return Comparison(problem=problem)
    example = subject.reference.example
    if example.exact is None:
        return Comparison(problem=None)
    bound = 2 * _bound(subject.spec.k, example.outputs[index], example.exact[index])
    error = relative_error(actual, eager.astype(np.float64))
    problem = f"finite values are off by {error:.2e}, {bound:.2e} are allowed" if error > bound else None
    return Comparison(problem=problem, error=error, bound=bound, rule="pattern")


def _bound(k: float, eager: np.ndarray, exact: np.ndarray) -> float:
    return k * relative_error(eager, exact) + floor(eager.dtype)
