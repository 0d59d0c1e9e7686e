from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from orchestrator.history.compare import Kind, Snapshot, between, changes, lost_axes, new_operators, snapshot
from orchestrator.report.summary import Report, summarise
from orchestrator.result import Status, ValueInfo
from tests import synthetic
from tests.nights import LSTM, RESNET, UNITS


def report(*results: Any, units: Any = UNITS, **started: Any) -> Report:
    records = synthetic.ledger(*(results or [synthetic.result(cell.id) for unit in units for cell in unit.cells]))
    records[0] = msgspec.structs.replace(records[0], **started)
    return summarise(synthetic.plan(*units), records)


def taken() -> Snapshot:
    return snapshot(report().cells[0])


IMAGE = ValueInfo(name="image", dtype="float32", shape=("batch", 3, 224, None))
CHANGES = [
    ({"status": Status.CRASHED, "reason": "a signal"}, Kind.STATUS, "passed → crashed: a signal"),
    ({"opset": 18}, Kind.OPSET, "20 → 18"),
    ({"op_counts": {"Conv": 54, "Relu": 49, "Shape": 2}}, Kind.OPERATORS, "Conv 53 → 54, Gemm 1 → 0, Shape 0 → 2"),
    ({"bytes": 107_649_629}, Kind.SIZE, "103 MB → 108 MB (+5 %)"),
    ({"errors": {"parity": 0.35}}, Kind.ERROR, "parity: 0.035 → 0.35 of its bound"),
    ({"sha256": "c" * 64}, Kind.BYTES, "the graph has other bytes, of the same operators and size"),
    (
        {"inputs": (replace(IMAGE, shape=(2, 3, 224, None)),)},
        Kind.INTERFACE,
        "input image: [batch, 3, 224, ?] → [2, 3, 224, ?]",
    ),
    ({"inputs": (replace(IMAGE, dtype="float16"),)}, Kind.INTERFACE, "input image: float32 → float16"),
    ({"outputs": ()}, Kind.INTERFACE, "output logits is gone"),
    ({"inputs": (IMAGE, replace(IMAGE, name="mask"))}, Kind.INTERFACE, "input mask is new"),
]


@pytest.mark.parametrize(("changed", "kind", "message"), CHANGES, ids=[f"{kind}-{i}" for i, (_, kind, _) in enumerate(CHANGES)])
def test_what_is_another_is_told_in_a_line(changed: dict[str, Any], kind: Kind, message: str) -> None:
    (found,) = changes(taken(), replace(taken(), **changed))
    assert (found.kind, found.message) == (kind, message)


def test_the_same_is_no_change_and_where_there_is_no_artifact_only_the_status_is_compared() -> None:
    assert changes(taken(), taken()) == []
    failed = snapshot(report(synthetic.result(RESNET, Status.EXPORT_FAILED)).cells[0])
    assert [change.kind for change in changes(taken(), failed)] == [Kind.STATUS]
    assert changes(failed, failed) == []


@pytest.mark.parametrize(
    ("shape", "lost"),
    [
        (("batch", 3, 224, None), []),
        (("n", 3, "height", "width"), []),
        ((2, 3, 224, None), ["input image: axis 0 was batch, and is 2"]),
        (("batch", 3, 224, 224), ["input image: axis 3 was ?, and is 224"]),
    ],
)
def test_an_axis_is_lost_when_a_number_takes_its_place(shape: Any, lost: list[str]) -> None:
    assert [*lost_axes(taken(), replace(taken(), inputs=(replace(IMAGE, shape=shape),)))] == lost


def test_an_output_that_is_gone_is_lost_and_a_new_operator_is_one_that_was_not_there() -> None:
    changed = replace(taken(), outputs=(), op_counts={"Conv": 99, "Loop": 1})
    assert [*lost_axes(taken(), changed)] == ["output logits is gone"]
    assert new_operators(taken(), changed) == ["Loop"]


def test_runs_are_compared_cell_by_cell_with_what_they_were_made_with() -> None:
    before = report(units=[UNITS[0], synthetic.unit("gpt2")])
    later = {"versions": {"orchestrator": "0.1.0", "torch": "2.16.0"}, "host": {"system": "Linux", "cores": 4}}
    found = between(before, report(run_id="later", **later))
    assert (found.before, found.after, found.same) == (before.run.run_id, "later", 1)
    assert found.surroundings[:2] == ("onnx 1.23.2 → none", "torch 2.15.0 → 2.16.0")
    assert "cores 2 → 4" in found.surroundings
    assert [(diff.cell.partition("-")[0], diff.changes[0].kind) for diff in found.cells] == [
        ("lstm", Kind.NEW),
        ("gpt2", Kind.GONE),
    ]


def test_why_a_cell_was_exported_anew_stands_beside_what_it_changed() -> None:
    after = report(synthetic.result(RESNET, Status.TIMEOUT, why_exported="torch 2.15.0 → 2.16.0"), synthetic.result(LSTM))
    (diff,) = between(report(), after).cells
    assert (diff.cell, diff.why_exported) == (RESNET, "torch 2.15.0 → 2.16.0")
