from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import baseline
from orchestrator.baseline import Acceptance, Baseline
from orchestrator.commands import accept as verb
from orchestrator.errors import EnvironmentRefusedError
from orchestrator.folder import RunFolder, read_run
from orchestrator.report import json as report_json
from orchestrator.report.summary import Report, exit_code, summarise
from orchestrator.result import Artifact, CellResult, Check, CheckStatus, FileRef, Origin, Rule, Status, ValueInfo
from orchestrator.spec import BaselineRules, KnownIssue, Plan, Unit
from orchestrator.store.blobs import BlobStore
from orchestrator.store.ledger import RunStatus
from tests import synthetic
from tests.nights import LSTM, RESNET, UNITS

NIGHTLY = ("+fleet=nightly",)
SIZE = 1000


class Fleet:
    """A folder of runs and its store; each night is a run of its own, as the driver writes it."""

    def __init__(self, folder: Path) -> None:
        self.runs = folder / "runs"
        self.blobs = BlobStore(folder / "store")

    def put(self, name: str, data: bytes) -> FileRef:
        sha256, size = self.blobs.put_bytes(data)
        return FileRef(name=name, sha256=sha256, bytes=size)

    def passed(self, cell: str, size: int = SIZE, **changed: Any) -> CellResult:
        """What a good night finds; `changed` replaces fields of the artifact."""
        artifact = synthetic.artifact(self.put("model.onnx", cell.encode().ljust(size, b".")))
        return synthetic.result(cell, artifact=replace(artifact, **changed))

    def night(self, *results: CellResult, units: tuple[Unit, ...] = UNITS, **settings: Any) -> Report:
        """A run that reached its end; a planned cell without a result passed."""
        plan = synthetic.plan(*units, runs=str(self.runs), store=str(self.blobs.root))
        plan = replace(plan, settings=replace(plan.settings, **({"overrides": NIGHTLY} | settings)))
        folder = RunFolder.create(plan, {})
        folder.start(["python", "-m", "orchestrator", *NIGHTLY], {"torch": "2.15.0"}, {"cores": 2})
        given = {result.cell: result for result in results}
        for cell in (cell for cell in plan.cells if cell.skip is None):
            folder.finish_cell(given.get(cell.id) or self.passed(cell.id))
        folder.compare(baseline.read(self.runs))
        return folder.close(RunStatus.FINISHED)

    def accept(self, *patterns: str) -> int:
        typed = [f"select=[{','.join(patterns)}]"] if patterns else []
        return verb.main(["latest", *typed, "--runs", str(self.runs)], lambda _: None)  # type: ignore[arg-type,return-value]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """One whose first night was accepted."""
    fleet = Fleet(tmp_path)
    assert exit_code(fleet.night()) == 0
    assert fleet.accept() == 0
    return fleet


def found(report: Report) -> dict[str, list[str]]:
    """Rules by model, of the regressions of a run."""
    worse = {cell.model: [each.rule.value for each in cell.regressions] for cell in report.cells if cell.regressions}
    gone = report.baseline.gone if report.baseline else ()
    return worse | {each.cell.partition("-")[0]: [each.rule.value] for each in gone}


FIXED = (ValueInfo(name="image", dtype="float32", shape=(2, 3, 224, None)),)
COUNTS = {"Conv": 53, "Relu": 49, "Gemm": 1}


def test_ten_quiet_nights_stay_green(fleet: Fleet) -> None:
    for _ in range(10):
        report = fleet.night()
        assert (exit_code(report), found(report)) == (0, {})
        assert report.baseline
        assert report.baseline.compared == 2


def wrong_weight(fleet: Fleet) -> CellResult:
    return replace(synthetic.result(RESNET, Status.CHECK_FAILED), artifact=fleet.passed(RESNET).artifact)


@pytest.mark.parametrize(
    ("seed", "rule", "reason"),
    [
        (wrong_weight, Rule.NEW_FAILURE, "it was passed in 20"),
        (lambda _: synthetic.result(RESNET, Status.CRASHED), Rule.NEW_FAILURE, "it was passed in 20"),
        (lambda fleet: fleet.passed(RESNET, inputs=FIXED), Rule.INTERFACE, "input image: axis 0 was batch, and is 2"),
        (lambda fleet: fleet.passed(RESNET, op_counts=COUNTS | {"Loop": 1}), Rule.OPERATORS, "Loop was not in the graph"),
        (lambda fleet: fleet.passed(RESNET, size=SIZE + SIZE // 20), Rule.SIZE, "1.0 kB → 1.1 kB (+5 %); accepted in 20"),
    ],
    ids=["a wrong weight", "a crash", "a lost dynamic axis", "a new operator", "5 % bigger"],
)
def test_a_seeded_regression_is_red_the_first_night_with_its_reason(fleet: Fleet, seed: Any, rule: Rule, reason: str) -> None:
    report = fleet.night(seed(fleet))
    assert (exit_code(report), found(report)) == (1, {"resnet50": [rule]})
    assert not report.cells[0].expected
    assert reason in report.cells[0].regressions[0].message
    assert exit_code(fleet.night()) == 0


def test_a_cell_that_is_gone_or_skipped_is_red_the_first_night(fleet: Fleet) -> None:
    report = fleet.night(units=UNITS[:1])
    assert (exit_code(report), found(report)) == (1, {"lstm": [Rule.GONE]})
    assert report.baseline
    assert "is not planned any more" in report.baseline.gone[0].message
    report = fleet.night(units=(UNITS[0], synthetic.unit("lstm", skip="no node has it")))
    assert (exit_code(report), found(report)) == (1, {"lstm": [Rule.GONE]})
    assert "is skipped: no node has it" in report.cells[1].regressions[0].message


def test_a_run_of_another_command_misses_no_cell_and_compares_what_it_has(fleet: Fleet) -> None:
    report = fleet.night(units=UNITS[:1], overrides=("+model=resnet50",))
    assert (exit_code(report), found(report)) == (0, {})
    report = fleet.night(fleet.passed(RESNET, inputs=FIXED), units=UNITS[:1], overrides=("+model=resnet50",))
    assert found(report) == {"resnet50": [Rule.INTERFACE]}


@pytest.mark.parametrize("more", ["cluster.workers=3", "deliver=none", "force=true", "baseline.size=null", "verify=quick"])
def test_keys_that_choose_no_cells_do_not_make_it_another_command(more: str) -> None:
    assert baseline.scope([more, *NIGHTLY]) == baseline.scope(NIGHTLY)
    assert baseline.scope(["select=[a]", *NIGHTLY]) != baseline.scope(NIGHTLY)


def with_error(fleet: Fleet, share: float) -> CellResult:
    parity = Check(id="parity", status=CheckStatus.PASSED, detail="", measured=share * 3.4e-5, threshold=3.4e-5)
    return replace(fleet.passed(RESNET), checks=synthetic.checks(parity=parity))


@pytest.mark.parametrize(
    ("before", "now", "red"),
    [(0.3, 0.59, False), (0.3, 0.61, True), (0.001, 0.24, False), (0.001, 0.26, True), (0.3, 0.1, False)],
)
def test_an_error_is_red_when_it_doubles_and_is_above_what_eager_itself_is_off(
    fleet: Fleet, before: float, now: float, red: bool
) -> None:
    fleet.night(with_error(fleet, before))
    fleet.accept("resnet50-*")
    report = fleet.night(with_error(fleet, now))
    assert found(report) == ({"resnet50": [Rule.ERROR]} if red else {})
    assert not red or "of its bound" in report.cells[0].regressions[0].message


@pytest.mark.parametrize(
    "rules",
    [
        {"compare": False},
        {"interface": False, "operators": False, "error": None, "size": None, "gone": False},
    ],
)
def test_what_the_rules_leave_out_is_not_red(fleet: Fleet, rules: Mapping[str, Any]) -> None:
    parity = Check(id="parity", status=CheckStatus.PASSED, detail="", measured=3e-5, threshold=3.4e-5)
    worse = fleet.passed(RESNET, size=2 * SIZE, inputs=FIXED, op_counts={"Loop": 1})
    rules = BaselineRules(**rules)
    report = fleet.night(replace(worse, checks=synthetic.checks(parity=parity)), units=UNITS[:1], baseline=rules)
    assert (exit_code(report), found(report)) == (0, {})
    assert found(fleet.night(replace(worse, checks=synthetic.checks(parity=parity)))) == {
        "resnet50": [Rule.INTERFACE, Rule.OPERATORS, Rule.ERROR, Rule.SIZE]
    }


def test_a_little_bigger_is_not_red_and_smaller_never(fleet: Fleet) -> None:
    assert found(fleet.night(fleet.passed(RESNET, size=math.ceil(SIZE * 1.05) - 1))) == {}
    assert found(fleet.night(fleet.passed(RESNET, size=SIZE // 2))) == {}


def test_a_known_issue_stays_as_it_is(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    issue = KnownIssue(cells="lstm-*", status=Status.EXPORT_FAILED, reason="it cannot")
    units = (UNITS[0], synthetic.unit("lstm", known_issues=[issue]))
    fleet.night(synthetic.result(LSTM, Status.EXPORT_FAILED), units=units)
    assert fleet.accept() == 0
    assert exit_code(fleet.night(synthetic.result(LSTM, Status.EXPORT_FAILED), units=units)) == 0
    assert exit_code(fleet.night(units=units)) == 0
    report = fleet.night(synthetic.result(LSTM, Status.CRASHED), units=units)
    assert (exit_code(report), found(report)) == (1, {"lstm": [Rule.NEW_FAILURE]})


def test_what_is_worse_is_accepted_by_hand_and_green_from_then_on(fleet: Fleet) -> None:
    bigger = fleet.passed(RESNET, size=2 * SIZE)
    assert exit_code(fleet.night(bigger)) == 1
    assert fleet.accept("lstm-*") == 0
    assert exit_code(fleet.night(bigger)) == 1
    assert fleet.accept("resnet50-*") == 0
    assert exit_code(fleet.night(bigger)) == 0


def test_a_cell_that_is_meant_to_be_gone_is_dropped_by_accepting_the_run_without_it(fleet: Fleet) -> None:
    assert exit_code(fleet.night(units=UNITS[:1])) == 1
    assert fleet.accept() == 0
    assert exit_code(fleet.night(units=UNITS[:1])) == 0
    assert [*baseline.read(fleet.runs).cells] == [RESNET]


def test_cells_of_other_commands_are_not_dropped(fleet: Fleet) -> None:
    fleet.night(units=UNITS[:1], overrides=("+model=resnet50",))
    fleet.accept()
    assert {*baseline.read(fleet.runs).cells} == {RESNET, LSTM}


def test_the_report_is_made_again_byte_by_byte_whatever_is_accepted_later(fleet: Fleet) -> None:
    report = fleet.night(fleet.passed(RESNET, size=2 * SIZE), units=UNITS[:1])
    folder = fleet.runs / report.run.run_id
    written = (folder / "report.json").read_bytes()
    fleet.accept()
    plan, records = read_run(folder)
    assert report_json.render(summarise(plan, records)) == written
    told = json.loads(written)
    assert [each["rule"] for cell in told["cells"] for each in cell["regressions"]] == ["size"]
    assert [each["cell"] for each in told["baseline"]["gone"]] == [LSTM]
    assert told["run"]["exit_code"] == 1


def test_without_a_baseline_nothing_is_compared(tmp_path: Path) -> None:
    report = Fleet(tmp_path).night()
    assert report.baseline is None
    assert exit_code(report) == 0


def taken(report: Report, plan: Plan) -> Acceptance:
    return baseline.accept(Baseline(), plan, report, {}, [])[1]


@pytest.mark.parametrize("status", [Status.CRASHED, Status.INFRA_ERROR, Status.UNVERIFIED])
def test_what_says_nothing_good_of_a_cell_is_not_accepted(status: Status) -> None:
    plan = synthetic.plan(*UNITS)
    report = summarise(plan, synthetic.ledger(synthetic.result(RESNET, status), synthetic.result(LSTM, origin=Origin.CACHE)))
    told = taken(report, plan)
    assert (told.accepted, [*told.refused]) == ((LSTM,), [RESNET])
    assert status in told.refused[RESNET]


def test_what_is_accepted_is_known_by_content_so_that_it_is_not_collected(fleet: Fleet) -> None:
    digests = {file.sha256 for cell in (RESNET, LSTM) for file in artifact_of(fleet.passed(cell)).files}
    assert baseline.files([fleet.runs]) == digests
    assert baseline.files([fleet.runs / "nowhere"]) == set()


def artifact_of(result: CellResult) -> Artifact:
    assert result.artifact
    return result.artifact


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged.*accept a good run again"),
        ('{"cells": {}, "schema_version": 99}', "has schema 99"),
        ("\udcff", "damaged"),
    ],
)
def test_a_baseline_that_cannot_be_read_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / baseline.NAME).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(EnvironmentRefusedError, match=message):
        baseline.read(tmp_path)
