"""Whether the target's execution provider really ran the artifact: what a provider refuses goes to the CPU.

At strict also whether what the runtime's optimiser makes of the graph answers as the graph itself does.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.result import Finding
from orchestrator.spec import VerifyLevel
from orchestrator.verify.agreement import tolerance_of
from orchestrator.verify.base import REFERENCE_EVALUATOR, Subject, Verdict, judged
from orchestrator.verify.compare import compare
from orchestrator.verify.session import Session


def check(subject: Subject) -> Verdict:
    """The declared provider took nodes of the graph; that others took some as well, for shapes mostly, is a finding."""
    declared = subject.target.provider
    ran = subject.session.providers()
    others = ", ".join(sorted(ran - {declared}))
    problems = [] if declared in ran else [f"{declared} took no node; they ran on {others or 'none'}"]
    findings = (Finding(kind="provider", message=f"some nodes ran on {others}"),) if others and not problems else ()
    detail = f"{declared} ran it"
    if not problems and subject.spec.level is VerifyLevel.STRICT and declared != REFERENCE_EVALUATOR:
        problems = [*_unoptimised(subject)]
        detail += ", and answers within the bounds with its optimisations off"
    return Verdict(check=judged("runtime", problems, detail).check, findings=findings)


def _unoptimised(subject: Subject) -> Iterator[str]:
    """Outputs on the example that are within the bounds with the runtime's optimisations only, or without them only."""
    example = subject.reference.example
    plain = Session(subject.path, subject.target, subject.threads, optimised=False)(example.inputs)
    for index, output in enumerate(subject.model.outputs):
        exact = None if example.exact is None else example.exact[index]
        comparison = compare(plain[index], example.outputs[index], exact, k=subject.spec.k, tolerance=tolerance_of(output))
        if comparison.problem:
            yield f"with its optimisations off {output.name} departs: {comparison.problem}"
