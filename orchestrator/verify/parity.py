"""Whether the artifact answers what the model answers at the sizes that were exported: on the example and on every case."""

from __future__ import annotations

from orchestrator.verify.agreement import agreement
from orchestrator.verify.base import Subject, Verdict


def check(subject: Subject) -> Verdict:
    """Every output on every probe of the example's sizes; an output that proves nothing fails too."""
    probes = [probe for probe in subject.reference.probes if probe.kind != "sizes"]
    advice = "it proves nothing; draw other weights, or say `constant: true` if it is meant"
    vacuous = [f"output {name} {reason}: {advice}" for name, reason in subject.reference.vacuous.items()]
    return agreement("parity", subject, probes, vacuous)
