from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.report import markdown, wording
from orchestrator.report.agreement import Agreement, agreements
from orchestrator.report.html_data import _beside
from orchestrator.report.summary import Report, summarise
from orchestrator.result import CellResult, Check, CheckStatus, ProbeError, Status
from orchestrator.spec import Plan
from tests import synthetic
from tests.report.test_json import valid


def probe(name: str, measured: float | None, answers: str, threshold: float | None = 1e-5) -> ProbeError:
    return ProbeError(probe=name, measured=measured, threshold=threshold, answers=answers)


def passed(cell: str, *probes: ProbeError, status: Status = Status.PASSED) -> CellResult:
    parity = Check(id="parity", status=CheckStatus.PASSED, detail="", probes=probes[:1])
    shapes = Check(id="shapes", status=CheckStatus.PASSED, detail="", probes=probes[1:])
    return synthetic.result(cell, status, checks=(parity, shapes))


def two(opsets: tuple[int, ...] = (20,)) -> Plan:
    return synthetic.plan(synthetic.unit(opsets=opsets), synthetic.unit(exporter="torchscript", opsets=opsets))


def agreed(ours: list[ProbeError], theirs: list[ProbeError], status: Status = Status.PASSED) -> tuple[Agreement, ...]:
    plan = two()
    first, second = (cell.id for cell in plan.cells)
    results = (passed(first, *ours), passed(second, *theirs, status=status))
    return agreements(plan, {result.cell: result for result in results})


def test_equal_digests_are_equal_bits_whatever_the_errors() -> None:
    (pair,) = agreed(
        [probe("example", 1e-6, "a"), probe("batch=1", 2e-6, "b")], [probe("example", 1e-6, "a"), probe("batch=1", 2e-6, "b")]
    )
    assert (pair.model, pair.opset, pair.dtype, pair.target) == ("resnet50", 20, "float32", "cpu")
    assert pair.exporters == ("dynamo", "torchscript")
    assert (pair.probes, pair.equal, pair.apart) == (2, 2, 0.0)
    assert wording.agreement(pair) == "the same bits on all probes (2)"


def test_other_answers_are_apart_by_no_more_than_both_errors() -> None:
    (pair,) = agreed(
        [probe("example", 1e-6, "a"), probe("batch=1", 2e-6, "b"), probe("batch=3", None, "c", None)],
        [probe("example", 1e-6, "a"), probe("batch=1", 4e-6, "other"), probe("batch=3", None, "c", None)],
    )
    assert (pair.probes, pair.equal) == (3, 2)
    assert pair.apart == pytest.approx(0.6)
    assert wording.agreement(pair) == "the same bits on 2 of 3 probes, elsewhere apart by 60 % of the bound at most"


def test_answers_of_which_no_digest_was_kept_are_not_called_equal() -> None:
    (pair,) = agreed([probe("example", 1e-6, "")], [probe("example", 1e-6, "")])
    assert (pair.equal, pair.apart) == (0, pytest.approx(0.2))


def test_only_what_passed_and_was_asked_the_same_is_compared() -> None:
    asked = [probe("example", 1e-6, "a")]
    assert agreed(asked, asked, status=Status.CHECK_FAILED) == ()
    assert agreed(asked, [probe("case quiet", 1e-6, "a")]) == ()
    units = synthetic.unit(), synthetic.unit("lstm", exporter="torchscript")
    results = [passed(cell.id, *asked) for unit in units for cell in unit.cells]
    assert agreements(synthetic.plan(*units), {result.cell: result for result in results}) == ()


def test_swept_keys_keep_apart_what_is_not_the_same_cell() -> None:
    plan = two()
    first, second = plan.units
    swept = replace(second, cells=tuple(replace(cell, swept=(("verify.seed", "1"),)) for cell in second.cells))
    results = [passed(cell.id, probe("example", 1e-6, "a")) for cell in plan.cells]
    assert agreements(replace(plan, units=(first, swept)), {result.cell: result for result in results}) == ()


def report() -> Report:
    plan = two(opsets=(18, 20, 23))
    bits = {cell.id: "a" if cell.opset < 23 or "dynamo" in cell.id else "b" for cell in plan.cells}
    return summarise(plan, synthetic.ledger(*(passed(cell, probe("example", 1e-6, each)) for cell, each in bits.items())))


def test_the_report_has_a_line_for_opsets_of_which_the_same_is_true() -> None:
    text = markdown.render(report())
    assert "| resnet50 | dynamo and torchscript | float32 | cpu | 18, 20 | the same bits on all probes (1) |" in text
    assert "| 23 | the same bits on 0 of 1 probes, elsewhere apart by 20 % of the bound at most |" in text
    assert "Exporters beside" not in markdown.render(summarise(*synthetic.every_status()))


def test_report_json_has_them_and_the_page_shows_the_other_exporter() -> None:
    assert [pair["opset"] for pair in valid(report())["agreements"]] == [18, 20, 23]
    assert _beside(report().agreements)["resnet50-dynamo-opset18-float32-cpu"] == [
        "torchscript: the same bits on all probes (1)"
    ]
