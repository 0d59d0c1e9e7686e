"""The plan of a run that is not started: what would be done, and how long it took before. Starts neither torch nor Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.cache import Known
from orchestrator.report import wording
from orchestrator.report.rest import Rest
from orchestrator.result import SCHEMA_VERSION
from orchestrator.spec import Plan, Unit


def show(plan: Plan, known: Known, warnings: Sequence[str], console: Console, *, as_json: bool) -> None:
    """Print a plan: a row per unit and the whole, or with `as_json` an object with every cell.

    Args:
        plan: The accepted plan.
        known: What of it is in the cache.
        warnings: What is odd and no mistake.
        console: From `terminal.open_console`.
        as_json: For a script.
    """
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(document(plan, known, warnings))).decode()
        console.print(Text(text), soft_wrap=True)
        return
    console.print(_table(plan))
    console.print(Text(summary(plan)), soft_wrap=True)
    for line in (*_cached(known), *_skipped(plan), *warnings):
        console.print(Text(wording.visible(line)), soft_wrap=True)


def summary(plan: Plan) -> str:
    """The whole in one line: `84 cells in 28 units, about 6 min on 2 workers by earlier runs`."""
    took = Rest(plan).seconds(0.0)
    workers = plan.settings.cluster.workers
    estimate = "" if took is None else f", about {wording.roughly(took)} on {wording.count(workers, 'worker')} by earlier runs"
    return f"{wording.count(len(plan.cells), 'cell')} in {wording.count(len(plan.units), 'unit')}{estimate}"


def document(plan: Plan, known: Known, warnings: Sequence[str]) -> dict[str, Any]:
    """The plan as `--json` prints it."""
    cached = {hit.cell for hit in known.hits}
    return {
        "schema_version": SCHEMA_VERSION,
        "workers": plan.settings.cluster.workers,
        "estimate": Rest(plan).seconds(0.0),
        "units": [{"id": unit.id, "cells": len(unit.cells), "estimate": unit.estimate} for unit in plan.units],
        "cells": [
            {
                "id": cell.id,
                "unit": unit.id,
                "model": unit.model.name,
                "exporter": unit.exporter.name,
                "opset": cell.opset,
                "dtype": unit.dtype,
                "target": cell.target.name,
                "skip": cell.skip,
                "cached": cell.id in cached,
            }
            for unit in plan.units
            for cell in unit.cells
        ],
        "warnings": list(warnings),
    }


def _table(plan: Plan) -> Padding:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", border_style="dim")
    for name, justify in (("unit", "left"), ("opsets", "left"), ("targets", "left"), ("cells", "right"), ("took", "right")):
        table.add_column(name, justify=justify, no_wrap=name != "unit", overflow="fold")  # type: ignore[arg-type]
    for unit in plan.units:
        table.add_row(*map(Text, _row(unit)))
    return Padding(table, (0, 0, 1, 0), expand=False)


def _row(unit: Unit) -> tuple[str, ...]:
    opsets = dict.fromkeys(str(cell.opset) for cell in unit.cells)
    targets = dict.fromkeys(cell.target.name for cell in unit.cells)
    estimate = "" if unit.estimate is None else wording.duration(unit.estimate)
    return (unit.id, " ".join(opsets), " ".join(targets), str(len(unit.cells)), estimate)


def _cached(known: Known) -> Iterator[str]:
    if known.hits:
        yield f"{wording.count(len(known.hits), 'cell')} will come from the cache"
    if known.exported:
        yield f"{wording.count(len(known.exported), 'cell')} will be verified again and not exported"


def _skipped(plan: Plan) -> Iterator[str]:
    reasons = [cell.skip for cell in plan.cells if cell.skip]
    for reason in dict.fromkeys(reasons):
        yield f"{wording.count(reasons.count(reason), 'cell')} will be skipped: {reason}"
