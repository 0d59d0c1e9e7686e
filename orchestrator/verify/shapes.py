"""Whether the dynamic dimensions are dynamic: the artifact against the model at other sizes than were exported."""

from __future__ import annotations

from orchestrator.result import Check, CheckStatus
from orchestrator.verify.agreement import agreement
from orchestrator.verify.base import Subject, Verdict


def check(subject: Subject) -> Verdict:
    """Every output on every probe of other sizes."""
    probes = [probe for probe in subject.reference.probes if probe.kind == "sizes"]
    if probes:
        return agreement("shapes", subject, probes)
    declared = subject.model.dims
    reason = "eager answers to none of the other sizes" if declared else "the model declares no dynamic dimension"
    status = CheckStatus.ERROR if declared else CheckStatus.NOT_APPLICABLE
    return Verdict(check=Check(id="shapes", status=status, detail=reason))
