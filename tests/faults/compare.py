"""What the reports of two runs of the same fleet must have in common, whatever happened to them on their way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TOLD_APART = ("durations", "origin", "attempts", "peak_memory")
"""Fields of a cell's report that are about how it came to be."""
OF_A_KILL = ("node_lost", "unclean_end")
"""Findings that tell of a kill."""


def comparable(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a report must say whatever happened."""
    run = {name: report["run"][name] for name in ("status", "exit_code", "versions", "changes")}
    return {"run": run, "counts": report["counts"], "cells": [_comparable_row(row) for row in report["cells"]]}


def different_rows(report: Mapping[str, Any], wanted: Mapping[str, Any], crashed: Sequence[str] = ()) -> Iterator[str]:
    """What the cells of two comparable reports do not agree in, those that crashed left aside."""
    for row, other in zip(report["cells"], wanted["cells"], strict=True):
        if row["id"] not in crashed:
            names = [name for name in other if row[name] != other[name]]
            yield from (f"{row['id']}: {name} is {row[name]!r} and not {other[name]!r}" for name in names)


def not_exported(report: Mapping[str, Any], cells: Sequence[str]) -> dict[str, Any]:
    """A report in which these cells say nothing of why they were exported."""
    return {"cells": [{**row, "why_exported": None} if row["id"] in cells else row for row in report["cells"]]}


def _comparable_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: value for name, value in row.items() if name not in TOLD_APART},
        "findings": [finding for finding in row["findings"] if finding["kind"] not in OF_A_KILL],
    }
