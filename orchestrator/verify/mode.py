"""Whether the artifact behaves as the mode that was exported, and whether the export left the model alone.

Whether training would go on well with what an artifact holds is not asked: it is exported for inference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from orchestrator.result import CheckStatus, Finding
from orchestrator.verify.base import Subject, Verdict, judged
from orchestrator.verify.compare import compare, is_floating, relative_error
from orchestrator.verify.modes import OtherMode, differences, snapshot

LIKE_THE_OTHER = (0.5, 2.0)
"""How far from the declared mode an artifact is, over how far the other mode is: dropout draws anew, so that 1 is never met."""


def check(subject: Subject) -> Verdict:
    """Flags, buffers and weights are as before the export, and the answer on the example is not that of another mode."""
    changed = [*differences(subject.reference.state, snapshot(subject.module))]
    problems = [f"the export left {name} changed" for name in changed]
    shares = [(other.name, share) for other in subject.reference.other_modes() if (share := _share(subject, other)) is not None]
    low, high = LIKE_THE_OTHER
    for name, share in shares:
        if low <= share <= high:
            problems.append(
                f"it answers on the example as the model in {name} mode does: {share:.2f} x as far from the declared mode "
                f"({subject.model.mode})"
            )
    given = subject.artifact.made_from == "given"
    verdict = judged("mode", problems, _detail(shares, given)).check
    findings = [*_mixed(subject)]
    measured = max((share for _, share in shares), default=None)
    verdict = replace(verdict, measured=measured, threshold=low if shares else None)
    if not shares and not problems and given:
        verdict = replace(verdict, status=CheckStatus.NOT_APPLICABLE)
    return Verdict(check=verdict, findings=tuple(findings))


def _detail(shares: Sequence[tuple[str, float]], given: bool) -> str:
    told = " and ".join(f"{share:.1e} of the way to {name} mode" for name, share in shares)
    untouched = "" if given else "; flags, buffers and weights are as before the export"
    return (told or "the model answers alike in both modes") + untouched


def _share(subject: Subject, other: OtherMode) -> float | None:
    """The artifact's distance from the declared mode over the other mode's; None if the modes answer alike."""
    example = subject.reference.example
    answers = subject.answer(example)
    found = []
    for index, declared in enumerate(example.outputs):
        theirs, actual = other.outputs[index], answers[index]
        exact = None if example.exact is None else example.exact[index]
        if compare(theirs, declared, exact, k=subject.spec.k).problem is None:
            continue
        if theirs.shape != declared.shape or actual.shape != declared.shape:
            continue
        gap = _distance(theirs, declared)
        if gap > 0 and np.isfinite(gap):
            found.append((gap, _distance(actual, declared) / gap))
    return max(found)[1] if found else None


def _distance(values: np.ndarray, declared: np.ndarray) -> float:
    if is_floating(declared.dtype):
        return relative_error(values, declared.astype(np.float64))
    return float(np.mean(values != declared))


def _mixed(subject: Subject) -> Iterator[Finding]:
    """A module that does not follow the mode of the whole: meant for some, forgotten by others."""
    declared = subject.model.mode == "train"
    names = [name for name, module in subject.module.named_modules() if module.training != declared]
    if names:
        told = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        yield Finding(kind="mixed_mode", message=f"not in {subject.model.mode} mode as declared: {told}")
