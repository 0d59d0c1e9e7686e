"""Whether the target's execution provider really ran the artifact: what a provider refuses goes to the CPU."""

from __future__ import annotations

from orchestrator.result import Finding
from orchestrator.verify.base import Subject, Verdict, judged


def check(subject: Subject) -> Verdict:
    """The declared provider took nodes of the graph; that others took some as well, for shapes mostly, is a finding."""
    declared = subject.target.provider
    ran = subject.session.providers()
    others = ", ".join(sorted(ran - {declared}))
    problems = [] if declared in ran else [f"{declared} took no node; they ran on {others or 'none'}"]
    findings = (Finding(kind="provider", message=f"some nodes ran on {others}"),) if others and not problems else ()
    return Verdict(check=judged("runtime", problems, f"{declared} ran it").check, findings=findings)
