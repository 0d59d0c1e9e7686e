from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.history import estimates, index
from orchestrator.history.estimates import Cost
from orchestrator.report.summary import CellReport
from orchestrator.result import CellFinished, CellResult, FileRef, Origin, Status
from orchestrator.store.ledger import Record
from tests import synthetic
from tests.nights import a_run

CELL = "resnet50-dynamo-opset20-float32-cpu"
OTHER = "lstm-dynamo-opset20-float32-cpu"


def took(cell: str, build: float, emit: float, **changes: object) -> CellFinished:
    durations = {"build": build, "reference": 1.0, "capture": 2.0, "emit": emit, "total": build + emit + 3.0}
    return CellFinished(result=synthetic.result(cell, durations=durations, **changes))


def finished(runs: Path, day: int, *records: Record) -> Path:
    plan = synthetic.plan(synthetic.unit(), synthetic.unit("lstm"))
    return a_run(runs, f"202601{day:02d}T030405Z-abc", plan, [synthetic.started(), *records])


def newest(runs: Path) -> Mapping[str, CellReport] | None:
    with index.opened(runs) as history:
        return estimates.newest(history)


def costs_of(runs: Path, *cells: str) -> Mapping[str, Cost]:
    with index.opened(runs) as history:
        return estimates.costs(history, set(cells))


def test_the_newest_run_that_can_be_read_tells_how_its_cells_ended(tmp_path: Path) -> None:
    assert newest(tmp_path / "nowhere") is None
    failed = CellResult(cell=CELL, status=Status.EXPORT_FAILED, reason="why")
    finished(tmp_path, 1, took(CELL, 1, 1))
    finished(tmp_path, 2, CellFinished(result=failed))
    (tmp_path / "20260103T030405Z-abc").mkdir()
    finished(tmp_path, 4)
    (tmp_path / "20260104T030405Z-abc" / "plan.json").write_bytes(b"{")
    (tmp_path / "notes").mkdir()
    found = newest(tmp_path)
    assert found is not None
    assert (found[CELL].status, found[CELL].expected) == (Status.EXPORT_FAILED, False)


def test_what_a_cell_took_is_what_the_newest_run_that_did_it_says(tmp_path: Path) -> None:
    finished(tmp_path, 1, took(CELL, 1, 1), took(OTHER, 5, 5))
    finished(tmp_path, 2, took(CELL, 2, 3))
    finished(tmp_path, 3, took(CELL, 9, 9, origin=Origin.CACHE))
    costs = costs_of(tmp_path, CELL, OTHER, "never")
    assert {cell: (cost.shared, cost.own) for cell, cost in costs.items()} == {CELL: (3.0, 5.0), OTHER: (6.0, 7.0)}
    assert [file.name for file in costs[CELL].files] == ["dynamo-opset20.onnx", f"weights-{'b' * 12}.data"]


def test_old_runs_are_not_read(tmp_path: Path) -> None:
    finished(tmp_path, 1, took(CELL, 1, 1))
    for day in range(2, 2 + estimates.DEEPEST):
        finished(tmp_path, day)
    assert costs_of(tmp_path, CELL) == {}


def test_a_damaged_ledger_says_nothing(tmp_path: Path) -> None:
    folder = finished(tmp_path, 1, took(CELL, 1, 1), took(OTHER, 1, 1))
    path = folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b"RunStarted", b"RunStartet", 1))
    assert costs_of(tmp_path, CELL) == {}
    assert newest(tmp_path) is None


GRAPH, WEIGHTS = FileRef(name="a.onnx", sha256="a" * 64, bytes=100), FileRef(name="w.data", sha256="b" * 64, bytes=1000)
KNOWN = {
    "a": Cost(shared=4.0, own=1.0, files=(GRAPH, WEIGHTS)),
    "b": Cost(shared=5.0, own=3.0, files=(FileRef(name="b.onnx", sha256="c" * 64, bytes=300), WEIGHTS)),
}


@pytest.mark.parametrize(
    ("cells", "seconds"), [(["a"], 5.0), (["a", "b"], 9.0), (["a", "b", "new", "newer"], 13.0), (["new"], None), ([], None)]
)
def test_a_unit_takes_what_is_shared_once_and_the_rest_for_each_cell(cells: list[str], seconds: float | None) -> None:
    assert estimates.seconds(cells, KNOWN) == seconds


@pytest.mark.parametrize(("cells", "needed"), [(["a"], 2200), (["a", "b"], 2800), (["a", "b", "new", "newer"], 5600), ([], 0)])
def test_files_that_cells_share_take_room_once_in_the_store_and_in_the_run(cells: list[str], needed: int) -> None:
    assert estimates.bytes_needed(cells, KNOWN) == needed
