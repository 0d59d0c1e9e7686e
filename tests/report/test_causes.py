from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.report.causes import causes, signature
from orchestrator.report.summary import CellReport, summarise
from orchestrator.result import CellError, Check, CheckStatus, Stage, Status
from tests import synthetic


def failed(model: str, detail: str, check: str = "parity") -> CellReport:
    unit = synthetic.unit(model)
    wrong = synthetic.checks(**{check: Check(id=check, status=CheckStatus.FAILED, detail=detail)})
    result = synthetic.result(unit.cells[0].id, Status.CHECK_FAILED, reason=f"{check}: {detail}", checks=wrong)
    return summarise(synthetic.plan(unit), synthetic.ledger(result)).cells[0]


def refused(model: str, message: str, stage: Stage = Stage.CAPTURE) -> CellReport:
    unit = synthetic.unit(model)
    error = CellError(stage=stage, kind="UserError", message=message)
    result = synthetic.result(unit.cells[0].id, Status.EXPORT_FAILED, reason=f"{stage}: {message}", error=error)
    return summarise(synthetic.plan(unit), synthetic.ledger(result)).cells[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("logits on batch=3: error 2.71e+00 is above 1.93e-06", "logits on batch=5: error 9.1e-02 is above 3.4e-05"),
        ("weights-0123456789abcdef.data is gone", "weights-fedcba9876543210.data is gone"),
        ("it wrote /tmp/a1/x.onnx", "it wrote /tmp/b2/y.onnx"),
        ("worst at [0, 3]: -0.0989272 instead of 0.141847", "worst at [7, 1]: 4 instead of 12"),
    ],
)
def test_numbers_digests_and_paths_do_not_tell_causes_apart(one: str, other: str) -> None:
    (cause,) = causes([failed("a", one), failed("b", other)])
    assert [cell.model for cell in cause.cells] == ["a", "b"]
    assert cause.problems == (f"parity: {one}",)


def test_names_of_the_cell_itself_do_not_tell_causes_apart() -> None:
    assert signature(refused("bert", "bert has a branch on x")) == signature(refused("gpt2", "gpt2 has a branch on x"))


@pytest.mark.parametrize(
    "other",
    [
        refused("b", "a branch on y"),
        refused("b", "a branch on x", Stage.EMIT),
        failed("b", "a branch on x"),
        replace(refused("b", "a branch on x"), expected=True),
    ],
)
def test_another_message_stage_status_or_expectation_is_another_cause(other: CellReport) -> None:
    assert len(causes([refused("a", "a branch on x"), other])) == 2


def test_another_check_is_another_cause() -> None:
    assert len(causes([failed("a", "it is wrong"), failed("b", "it is wrong", "shapes")])) == 2


def test_a_cell_that_passed_and_is_worse_than_accepted_has_a_cause() -> None:
    plan, records = synthetic.worse_than_accepted()
    (cause,) = causes(summarise(plan, records).cells)
    assert (cause.worse, cause.status, cause.expected) == (True, Status.PASSED, False)
    assert cause.problems == ("baseline, size: 102 MB → 204 MB (+1e+02 %); accepted in 20260101",)


def test_the_run_in_which_it_was_accepted_does_not_tell_causes_apart() -> None:
    one, other = (f"it was passed in 20260102T030405Z-{digits}" for digits in ("abcdef", "1a2b3c"))
    assert signature(refused("a", one)) == signature(refused("a", other))


def test_what_nobody_expected_comes_first_then_what_is_in_most_cells() -> None:
    known = [replace(refused(model, "known"), expected=True) for model in "abc"]
    found = causes([*known, refused("d", "rare"), refused("e", "frequent"), refused("f", "frequent")])
    assert [(cause.expected, len(cause.cells)) for cause in found] == [(False, 2), (False, 1), (True, 3)]


def test_good_cells_have_no_cause_and_cells_that_a_run_never_reached_have_one() -> None:
    unit = synthetic.unit(opsets=(18, 19, 20))
    records = synthetic.ledger(synthetic.result(unit.cells[0].id))
    (cause,) = causes(summarise(synthetic.plan(unit), records).cells)
    assert (cause.status, len(cause.cells), cause.problems) == (Status.SKIPPED, 2, ("the run ended before it was done",))
    assert cause.next == "Run again for the cells that are missing."
