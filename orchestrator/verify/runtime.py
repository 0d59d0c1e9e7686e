"""Whether the target's execution provider really ran the artifact: what a provider refuses goes to the CPU."""

from __future__ import annotations

from orchestrator.verify.base import Subject, Verdict, judged
from orchestrator.verify.session import CPU, FALLBACKS


def check(subject: Subject) -> Verdict:
    """Every node on the declared provider, or on one that it is documented to leave nodes to on the same device."""
    declared = subject.target.provider
    if declared == CPU:
        return judged("runtime", [], "the CPU provider takes every node")
    ran = subject.session.providers()
    strays = ran - {declared, *FALLBACKS.get(declared, [])}
    problems = [f"nodes ran on {', '.join(sorted(strays))}"] if strays else []
    if declared not in ran:
        problems.append(f"{declared} took no node")
    return judged("runtime", problems, f"{declared} ran it")
