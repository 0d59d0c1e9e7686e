from __future__ import annotations

import pytest

from orchestrator.report.expected import judge
from orchestrator.result import Status
from orchestrator.spec import KnownIssue

CELL = "lstm-dynamo-opset20-float32-cpu"
TODAY = "2026-01-02"
ISSUE = KnownIssue(cells="lstm-dynamo-*", status=Status.CHECK_FAILED, reason="the length is baked in", owner="zoo")


@pytest.mark.parametrize("status", Status)
def test_without_known_issues_only_good_ends_are_expected(status: Status) -> None:
    expected = status in (Status.PASSED, Status.SKIPPED, Status.UNVERIFIED)
    assert judge(CELL, status, [], TODAY).expected is expected
    assert judge(CELL, status, [], TODAY).findings == ()


@pytest.mark.parametrize(
    ("status", "expected", "kind"),
    [
        (Status.CHECK_FAILED, True, "known_issue"),
        (Status.PASSED, True, "known_issue_passed"),
        (Status.CRASHED, False, "known_issue_differs"),
    ],
)
def test_a_known_issue_excuses_its_own_status_alone_and_is_always_mentioned(status: Status, expected: bool, kind: str) -> None:
    verdict = judge(CELL, status, [ISSUE], TODAY)
    assert verdict.expected is expected
    assert [finding.kind for finding in verdict.findings] == [kind]
    assert "the length is baked in (owner: zoo)" in verdict.findings[0].message


@pytest.mark.parametrize(("expires", "expected"), [("2026-01-01", False), ("2026-01-02", False), ("2026-01-03", True)])
def test_from_its_day_on_an_issue_excuses_nothing(expires: str, expected: bool) -> None:
    issue = KnownIssue(cells="*", status=Status.CHECK_FAILED, reason="old", expires=expires)
    verdict = judge(CELL, Status.CHECK_FAILED, [issue], TODAY)
    assert verdict.expected is expected
    assert [finding.kind for finding in verdict.findings] == ["known_issue" if expected else "known_issue_expired"]


def test_an_issue_of_other_cells_is_no_concern() -> None:
    issue = KnownIssue(cells="LSTM-*", status=Status.CHECK_FAILED, reason="another case of letters")
    assert judge(CELL, Status.CHECK_FAILED, [issue], TODAY).findings == ()
    assert not judge(CELL, Status.CHECK_FAILED, [issue], TODAY).expected


def test_of_several_issues_one_that_fits_is_enough() -> None:
    other = KnownIssue(cells="*", status=Status.CRASHED, reason="sometimes")
    assert judge(CELL, Status.CRASHED, [ISSUE, other], TODAY).expected
