"""How a check says what it found: small constructors that all checks share."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.result import Check, CheckStatus
from orchestrator.verify.base import Verdict


def passed(check: str, detail: str) -> Verdict:
    """The check ran and found nothing wrong."""
    return Verdict(check=Check(id=check, status=CheckStatus.PASSED, detail=detail))


def judged(check: str, problems: Sequence[str], detail: str) -> Verdict:
    """Failed with all problems in one line, or passed with the detail."""
    if problems:
        return Verdict(check=Check(id=check, status=CheckStatus.FAILED, detail="; ".join(problems)))
    return passed(check, detail)
