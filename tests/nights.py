"""Folders of runs made by hand: nights of one fleet, each with a plan and a ledger, for tests of what is told over runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.result import CellFinished, CellResult
from orchestrator.spec import Plan, Unit
from orchestrator.store.ledger import Ledger, Record, RunFinished, RunStarted
from tests import synthetic

RESNET = "resnet50-dynamo-opset20-float32-cpu"
LSTM = "lstm-dynamo-opset20-float32-cpu"
UNITS = (synthetic.unit(), synthetic.unit("lstm"))


def a_run(runs: Path, name: str, plan: Plan, records: Sequence[Record]) -> Path:
    """The folder of a run with that name."""
    folder = runs / name
    folder.mkdir(parents=True)
    (folder / "plan.json").write_bytes(msgspec.json.encode(plan))
    record = Ledger.create(folder / "ledger.jsonl")
    for each in records:
        record.append(each)
    record.close()
    return folder


def name_of(day: int) -> str:
    """Of the run of that day in January."""
    return f"202601{day:02d}T030405Z-abc"


def started(day: int, **changes: Any) -> RunStarted:
    return msgspec.structs.replace(synthetic.started(), run_id=name_of(day), time=f"2026-01-{day:02d}T03:04:05Z", **changes)


def night(runs: Path, day: int, *results: CellResult, units: Iterable[Unit] = UNITS, **changes: Any) -> Path:
    """A run that reached its end; without results every cell of it passed."""
    units = tuple(units)
    cells = [cell.id for unit in units for cell in unit.cells]
    outcomes = results or [synthetic.result(cell) for cell in cells]
    bad = any(result.status != "passed" for result in outcomes)
    end = RunFinished(time=f"2026-01-{day:02d}T03:07:17Z", status=synthetic.ended().status, exit_code=int(bad))
    records = [started(day, **changes), *(CellFinished(result=result) for result in outcomes), end]
    return a_run(runs, name_of(day), synthetic.plan(*units, runs=str(runs), store=str(runs / ".store")), records)
