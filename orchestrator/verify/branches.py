"""Whether decisions by the values of the inputs survived the export: the artifact on both sides of each, where both are known.

Decisions by sizes are `shapes`' business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from orchestrator.result import CheckStatus, Finding
from orchestrator.verify.agreement import agreement
from orchestrator.verify.base import Subject, Verdict, judged
from orchestrator.verify.reference import Probe
from orchestrator.verify.retrace import retraced
from orchestrator.verify.search import differ
from orchestrator.verify.sites import Site, Value

NOT_TRACED = frozenset({"dynamo", "torchscript_script"})
"""Exporters that refuse a decision by a value or keep both sides. Any other, and nobody known, may have recorded one side."""
TRACED = "torchscript"

_RAISES = "eager raises on the other side of this line, where the artifact may answer something"


@dataclass(frozen=True, kw_only=True)
class _Decision:
    """A line that asks for a value of an input."""

    site: Site
    one: Probe
    """The first on which it was reached."""
    alike: tuple[Probe, ...]
    """Those on which it decides so, the first included."""
    others: tuple[Probe, ...]
    """Those on which it decides otherwise; none if it is not known to."""


def check(subject: Subject) -> Verdict:
    """Every line of the model that asks for a value of an input, on probes of both its sides; and what a trace has frozen."""
    probes = (*subject.reference.probes, *subject.reference.turned)
    decisions = list(_decisions(probes))
    one_sided = [decision for decision in decisions if not decision.others]
    guards = [decision for decision in one_sided if decision.site in subject.reference.search.raising]
    unproved = [decision for decision in one_sided if decision not in guards]
    problems = [problem for decision in decisions for problem in _frozen(subject, decision)]
    problems += [f"branch at {_unproved(subject, one)}" for one in unproved if _may_be_recorded(subject, one.site)]
    findings = [_finding("guarded_input", guard, f"{guard.site}: {_RAISES}") for guard in guards]
    findings += [_finding("unproved_branch", decision, _unproved(subject, decision)) for decision in unproved]
    verdict = judged("branches", problems, _summary(decisions, unproved, len(probes)))
    return replace(verdict, findings=(*findings, *_baked(subject)))


def _may_be_recorded(subject: Subject, site: Site) -> bool:
    """Whether a trace asks at this line at all: what looks whether it is being traced may pass it by."""
    if subject.exporter in NOT_TRACED:
        return False
    traces = retraced(subject)
    return traces is not None and site.line in traces.asked


def _baked(subject: Subject) -> Iterator[Finding]:
    traces = retraced(subject) if subject.exporter == TRACED and len(subject.reference.probes) > 1 else None
    if traces is None:
        return
    for frozen in traces.frozen:
        message = f"a trace of {traces.other} has {frozen.other} where that of the example has {frozen.one}: it is frozen"
        yield Finding(kind="frozen", message=message, source=frozen.source and frozen.source.partition(" ")[0])


def _decisions(probes: Sequence[Probe]) -> Iterator[_Decision]:
    for site in dict.fromkeys(site for probe in probes for site in probe.decided):
        reached = [probe for probe in probes if site in probe.decided]
        one = reached[0]
        others = tuple(probe for probe in reached if _decides_otherwise(site, one, probe))
        alike = tuple(probe for probe in reached if not _decides_otherwise(site, one, probe))
        yield _Decision(site=site, one=one, alike=alike, others=others)


def _decides_otherwise(site: Site, one: Probe, other: Probe) -> bool:
    return differ(site, (one.sizes, one.decided[site]), (other.sizes, other.decided[site]))


def _frozen(subject: Subject, decision: _Decision) -> Iterator[str]:
    """The artifact is right wherever the decision falls on one side, and wrong somewhere on the other."""
    # At other sizes the decision need not be the reason: they are asked where there is nothing else.
    same = tuple(probe for probe in decision.others if probe.sizes == decision.one.sizes)
    alike, others = ((decision.one,), same) if same else (decision.alike, decision.others)
    for right, wrong in ((alike, others), (others, alike)):
        if not right or any(_failing(subject, probe) for probe in right):
            continue
        for probe in wrong:
            if problem := _failing(subject, probe):
                sides = f"{_told(right[0].decided[decision.site])} on {right[0].name}"
                sides += f" and {_told(probe.decided[decision.site])} on {probe.name}"
                yield f"{decision.site} is {sides}, where the artifact is wrong: {problem}"
                return


def _failing(subject: Subject, probe: Probe) -> str | None:
    check = agreement("branches", subject, [probe]).check
    return check.detail if check.status is CheckStatus.FAILED else None


def _unproved(subject: Subject, decision: _Decision) -> str:
    probes, search = len(subject.reference.probes), subject.reference.search
    return (
        f"{decision.site} is not proved: it was {_told(decision.one.decided[decision.site])} on all {probes} probes and "
        f"{search.evaluations} inputs that were tried; add a case to {subject.model.config_path} that reaches its other side"
    )


def _finding(kind: str, decision: _Decision, message: str) -> Finding:
    return Finding(kind=kind, message=message, source=decision.site.line)


def _summary(decisions: Sequence[_Decision], unproved: Sequence[_Decision], probes: int) -> str:
    if not decisions:
        return f"no data-dependent branch on these {probes} probes: the model asks for no value of an input"
    return (
        f"{len(decisions) - len(unproved)} of the {len(decisions)} lines that ask for a value of an input decide both ways "
        f"on these {probes} probes"
    )


def _told(values: Sequence[Value]) -> str:
    """Few values as they are, many by their number: a `while` is asked once a round."""
    words = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
    return " ".join(words) if len(words) <= 4 else f"{' '.join(words[:3])} … {words[-1]} ({len(words)} times)"
