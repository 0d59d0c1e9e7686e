from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from orchestrator.result import CheckStatus
from orchestrator.verify.agreement import _digest, agreement
from tests.verify.test_base import subject


def test_a_pass_sums_up_the_worst_comparison(tmp_path: Path) -> None:
    shared = subject(tmp_path)
    check = agreement("parity", shared, shared.reference.probes).check
    assert check.status is CheckStatus.PASSED
    assert check.detail.startswith(f"{2 * len(shared.reference.probes)} comparisons; worst scores on ")
    assert check.measured is not None
    assert check.threshold is not None


def test_many_failures_are_one_line_with_their_number(tmp_path: Path) -> None:
    shared = subject(tmp_path)
    wrong = [replace(p, outputs=tuple(np.ones_like(o) for o in p.outputs), exact=None) for p in shared.reference.probes]
    detail = agreement("shapes", shared, wrong).check.detail
    assert detail.count("\n") == 0
    assert f"more of {2 * len(wrong)} comparisons" in detail


def test_other_problems_come_first(tmp_path: Path) -> None:
    shared = subject(tmp_path)
    check = agreement("parity", shared, shared.reference.probes, ["vacuous"]).check
    assert (check.status, check.detail) == (CheckStatus.FAILED, "vacuous")


def test_another_number_of_outputs_is_no_zip(tmp_path: Path) -> None:
    shared = subject(tmp_path)
    short = replace(shared.reference.example, outputs=shared.reference.example.outputs[:1])
    assert "2 outputs instead of 1" in agreement("parity", shared, [short]).check.detail


def test_each_probe_has_its_error_and_its_bound(tmp_path: Path) -> None:
    shared = subject(tmp_path)
    check = agreement("parity", shared, shared.reference.probes).check
    assert [each.probe for each in check.probes] == [probe.name for probe in shared.reference.probes]
    shares = [each.measured / each.threshold for each in check.probes if each.measured is not None and each.threshold]
    assert check.measured is not None
    assert check.threshold
    assert max(shares) == check.measured / check.threshold


def test_a_probe_without_an_answer_has_no_figure(tmp_path: Path) -> None:
    shared = subject(tmp_path)
    short = replace(shared.reference.example, outputs=shared.reference.example.outputs[:1])
    (error,) = agreement("parity", shared, [short]).check.probes
    assert (error.measured, error.threshold) == (None, None)


def test_equal_answers_have_equal_digests_and_others_have_others(tmp_path: Path) -> None:
    shared = subject(tmp_path)
    first = agreement("parity", shared, shared.reference.probes).check.probes
    again = agreement("parity", shared, shared.reference.probes).check.probes
    digests = [probe.answers for probe in first]
    assert digests == [probe.answers for probe in again]
    assert len({*digests}) == len(digests)
    assert all(digests)
    shape = _digest([np.zeros((2, 3), np.float32)])
    assert len({shape, _digest([np.zeros((3, 2), np.float32)]), _digest([np.zeros((2, 3), np.int32)])}) == 3


def test_what_does_not_answer_has_no_digest(tmp_path: Path) -> None:
    shared = subject(tmp_path)
    nothing = replace(shared.reference.example, name="nothing", inputs={})
    (probe,) = agreement("parity", shared, [nothing]).check.probes
    assert (probe.answers, probe.measured) == ("", None)
