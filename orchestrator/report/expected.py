"""Whether a cell ended as expected: its outcome against the known issues of its model and its fleets."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.result import Finding, Status
from orchestrator.spec import KnownIssue, Plan, Unit


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """A judgement and what a person should know about it."""

    expected: bool
    findings: tuple[Finding, ...] = ()
    """One per known issue that names the cell."""


def judge(cell: str, status: Status, issues: Sequence[KnownIssue], today: str) -> Expectation:
    """Compare an outcome with what was expected of the cell.

    Args:
        cell: Identifier.
        status: What happened.
        issues: The known issues that may name the cell.
        today: ISO date of the run: the clock of whoever reads the report later must not change it.
    """
    named = [issue for issue in issues if fnmatch.fnmatchcase(cell, issue.cells)]
    excused = any(issue.status is status and not _expired(issue, today) for issue in named)
    good = status in (Status.PASSED, Status.SKIPPED, Status.UNVERIFIED)
    return Expectation(expected=good or excused, findings=tuple(_finding(issue, status, today) for issue in named))


def issues(plan: Plan, unit: Unit) -> tuple[KnownIssue, ...]:
    """What may be known of the cells of a unit: its model's issues and those of the fleets."""
    return (*unit.model.known_issues, *plan.known_issues)


def _expired(issue: KnownIssue, today: str) -> bool:
    return issue.expires is not None and issue.expires <= today


def _finding(issue: KnownIssue, status: Status, today: str) -> Finding:
    owner = f" (owner: {issue.owner})" if issue.owner else ""
    what = f"{issue.reason}{owner}"
    if status is Status.PASSED:
        return Finding(kind="known_issue_passed", message=f"it passes, remove it from the config: {what}")
    if _expired(issue, today):
        return Finding(kind="known_issue_expired", message=f"the known issue has expired on {issue.expires}: {what}")
    if status is not issue.status:
        return Finding(kind="known_issue_differs", message=f"the known issue is {issue.status}, not {status}: {what}")
    return Finding(kind="known_issue", message=what)
