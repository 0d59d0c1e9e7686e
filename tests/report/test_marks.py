from __future__ import annotations

import pytest

from orchestrator.report import marks
from orchestrator.result import Stage, Status


@pytest.mark.parametrize("ascii_only", [False, True])
def test_how_a_cell_ended_is_told_by_the_sign_alone(ascii_only: bool) -> None:
    ends = [
        (Status.PASSED, True),
        (Status.CRASHED, False),
        (Status.CRASHED, True),
        (Status.SKIPPED, True),
        (Status.UNVERIFIED, True),
    ]
    signs = [marks.ended(*end, ascii_only)[0] for end in ends] + [marks.waiting(ascii_only)[0]]
    assert "".join(signs) == ("+x~-?." if ascii_only else "✔✘~-?·")


def test_what_failed_unexpectedly_is_red_and_what_is_known_yellow() -> None:
    assert marks.ended(Status.TIMEOUT, False, False)[1] == "bold red"
    assert marks.ended(Status.TIMEOUT, True, False)[1] == "yellow"


def test_no_two_stages_and_no_end_share_a_sign() -> None:
    stages = [marks.working(stage)[0] for stage in Stage]
    ends = [marks.ended(status, expected, True)[0] for status in Status for expected in (False, True)]
    assert len(set(stages)) == len(Stage)
    assert not set(stages) & {*ends, marks.waiting(True)[0]}


@pytest.mark.parametrize(("ascii_only", "text"), [(False, "●●◉○○ capture"), (True, "##>.. capture")])
def test_a_bar_names_the_stage_at_work(ascii_only: bool, text: str) -> None:
    assert marks.bar(Stage.CAPTURE, ascii_only).plain == text


def test_counts_say_what_is_known() -> None:
    assert marks.count(3, Status.PASSED, True, False).plain == "✔ 3 passed"
    assert marks.count(2, Status.OOM, True, False).plain == "~ 2 oom (known)"
    assert marks.counted(1, Status.OOM, False) == "1 oom"


def test_text_from_elsewhere_is_as_wide_as_it_will_be() -> None:
    assert marks.shown("é\x1b[2J", False) == "é\\x1b[2J"
    assert marks.shown("é\x1b[2J", True) == "\\xe9\\x1b[2J"
    assert (marks.overflow(True), marks.overflow(False)) == ("crop", "ellipsis")
