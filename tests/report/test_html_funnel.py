from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from orchestrator.report.html_funnel import fell, funnel, steps
from orchestrator.report.summary import CellReport, ErrorReport, summarise
from orchestrator.result import Check, CheckStatus, Stage, Status
from tests import synthetic

CHECKS = ["interface", "structure", "parity", "shapes", "delivery"]


def cells() -> tuple[CellReport, ...]:
    return summarise(*synthetic.every_status()).cells


def test_every_cell_takes_the_last_step_or_is_lost_at_one() -> None:
    found = funnel(cells())
    assert [step.name for step in found] == ["planned", "captured", "emitted", *CHECKS, "verified"]
    assert found[0].reached == len(cells())
    assert found[-1].reached == sum(cell.status is Status.PASSED for cell in cells())
    assert sum(sum(step.lost.values()) for step in found) + found[-1].reached == len(cells())
    for before, after in pairwise(found):
        assert after.reached == before.reached - sum(after.lost.values())


@pytest.mark.parametrize(
    ("model", "step"),
    [
        ("resnet50", None),
        ("vit_b_16", "captured"),
        ("sleeper", "captured"),
        ("segfault", "emitted"),
        ("filler", "emitted"),
        ("glutton", "interface"),
        ("draft", "interface"),
        ("minilm", "structure"),
        ("gpt2", "parity"),
    ],
)
def test_a_cell_falls_out_at_the_first_step_that_it_did_not_take(model: str, step: str | None) -> None:
    assert {fell(cell, steps(cells())) for cell in cells() if cell.model == model} == {step}


def test_a_cell_that_died_in_a_check_falls_out_at_the_first_one_without_outcome() -> None:
    whole = cells()[0]
    died = ErrorReport(stage=Stage.VERIFY, kind="signal", message="SIGSEGV", log=None)
    cell = replace(whole, status=Status.CRASHED, checks=whole.checks[:2], error=died)
    assert fell(cell, steps([whole, cell])) == "parity"
    assert fell(cell, steps([cell])) == "verified"


def test_what_is_not_applicable_or_a_finding_loses_nobody() -> None:
    mild = [Check(id="parity", status=status, detail="") for status in (CheckStatus.NOT_APPLICABLE, CheckStatus.FINDING)]
    found = funnel([replace(cells()[0], checks=(check,)) for check in mild])
    assert [step.reached for step in found] == [2, 2, 2, 2, 2]


def test_a_cell_that_the_plan_left_out_was_planned_and_not_captured() -> None:
    plan = synthetic.plan(synthetic.unit(skip="no node has a CUDA device"))
    found = funnel(summarise(plan, synthetic.ledger()).cells)
    assert [(step.name, step.reached, dict(step.lost)) for step in found[:2]] == [
        ("planned", 1, {}),
        ("captured", 0, {Status.SKIPPED: 1}),
    ]
