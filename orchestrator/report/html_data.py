"""What report.html shows of a run beside its fixed text, as one compact JSON document that the page's script reads.

Equal texts and equal tables are written once and referred to by number: of 5,000 cells most have the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from orchestrator import layout
from orchestrator.report import repro, wording
from orchestrator.report.agreement import Agreement
from orchestrator.report.causes import Cause
from orchestrator.report.html_funnel import fell, steps
from orchestrator.report.summary import ArtifactReport, CellReport, Report
from orchestrator.result import Check, Finding, Status, ValueInfo
from orchestrator.spec import Cell, Plan

SIGNS = {
    Status.PASSED: "✓",
    Status.EXPORT_FAILED: "E",
    Status.CHECK_FAILED: "C",
    Status.CRASHED: "!",
    Status.TIMEOUT: "T",
    Status.OOM: "M",
    Status.INFRA_ERROR: "I",
    Status.SKIPPED: "-",
    Status.UNVERIFIED: "?",
}
"""One character a status: a colour alone does not tell everybody the same."""
LogTail = Callable[[str], str]
"""The end of the log of a cell; empty if there is none."""
EXHIBITS = 50
"""Cells that did not pass whose log and script are in the page: the first of each cause, then others. Each is some 25 kB."""


def document(report: Report, plan: Plan, causes: Sequence[Cause], log_tail: LogTail) -> bytes:
    """The data of the page.

    Args:
        report: Of the run.
        plan: Of the run.
        causes: Of the run's failures, in the order of the page.
        log_tail: Is asked for the cells that are exhibits only.
    """
    pool, names, planned = _Pool(), steps(report.cells), plan.placed
    beside = _beside(report.agreements)
    cause_of = {cell.id: number for number, cause in enumerate(causes) for cell in cause.cells}
    fields: list[str] = []
    rows = []
    for cell in report.cells:
        row = _row(cell, planned[cell.id][1], plan) | {"cause": cause_of.get(cell.id), "fell": fell(cell, names)}
        row["beside"] = beside[cell.id]
        fields = [*row]
        rows.append(msgspec.Raw(msgspec.json.encode([pool.take(value) for value in row.values()])))
    data = {
        "fields": fields,
        "cells": rows,
        "pool": pool.values,
        "next": [cause.next for cause in causes],
        "signs": SIGNS,
        "exhibits": _exhibits(plan, causes, log_tail),
    }
    return msgspec.json.encode(data)


class _Pool:
    """Texts and tables by number, each once."""

    def __init__(self) -> None:
        self.values: list[msgspec.Raw] = []
        self._numbers: dict[bytes, int] = {}

    def take(self, value: object) -> object:
        """The number of a text or a table, in a list of its own; what is neither stays itself."""
        if not isinstance(value, str | list | dict):
            return value
        encoded = msgspec.json.encode(value)
        number = self._numbers.setdefault(encoded, len(self.values))
        if number == len(self.values):
            self.values.append(msgspec.Raw(encoded))
        return [number]


def _row(cell: CellReport, planned: Cell, plan: Plan) -> dict[str, object]:
    return {
        "id": cell.id,
        "model": cell.model,
        "exporter": cell.exporter,
        "opset": cell.opset,
        "actual": cell.opset_actual,
        "dtype": cell.dtype,
        "target": cell.target,
        "swept": " ".join(f"{key}={value}" for key, value in planned.swept),
        "status": cell.status,
        "origin": cell.origin,
        "expected": cell.expected,
        "problems": [wording.visible(line) for line in wording.problems(cell)],
        "attempts": cell.attempts,
        "durations": {stage: _short(seconds) for stage, seconds in cell.durations.items()},
        "memory": wording.size(cell.peak_memory) if cell.peak_memory else None,
        "speed": wording.speed(cell.speed) if cell.speed else None,
        "checks": [_check(check) for check in cell.checks],
        "findings": [_finding(finding) for finding in cell.findings],
        "why": cell.why_exported,
        "worse": [regression.rule for regression in cell.regressions],
        "folder": str(layout.cell_folder(cell.id)) if cell.attempts and layout.shows(plan.settings, cell.origin) else None,
        "log": cell.error.log if cell.error else None,
        **_artifact(cell.artifact),
    }


def _beside(agreements: Iterable[Agreement]) -> Mapping[str, list[str]]:
    """By cell, how it answers beside those of other exporters."""
    texts: dict[str, list[str]] = defaultdict(list)
    for pair in agreements:
        for cell, other in zip(pair.cells, reversed(pair.exporters), strict=True):
            texts[cell].append(f"{other}: {wording.agreement(pair)}")
    return texts


def _artifact(artifact: ArtifactReport | None) -> dict[str, object]:
    if artifact is None:
        return dict.fromkeys(("path", "sha256", "bytes", "size", "operators", "values", "made_from"))
    return {
        "path": artifact.path,
        "sha256": artifact.sha256,
        "bytes": artifact.bytes,
        "size": wording.size(artifact.bytes),
        "operators": dict(artifact.op_counts),
        "values": [*_values("input", artifact.inputs), *_values("output", artifact.outputs)],
        "made_from": artifact.made_from,
    }


def _check(check: Check) -> list[object]:
    figures = (_short(check.measured), _short(check.threshold), _short(check.seconds))
    probes = [[each.probe, _short(each.measured), _short(each.threshold)] for each in check.probes]
    return [check.id, check.status, wording.visible(check.detail), *figures, check.shared_with, probes]


def _finding(finding: Finding) -> list[object]:
    return [finding.kind, wording.visible(finding.message), finding.source]


def _values(kind: str, values: Iterable[ValueInfo]) -> list[list[str]]:
    return [
        [kind, value.name, value.dtype, ", ".join("?" if size is None else str(size) for size in value.shape)]
        for value in values
    ]


def _short(number: float | None) -> float | None:
    """Three digits: nobody reads more, and 5,000 cells have 100,000 of them."""
    return None if number is None else float(f"{number:.3g}")


def _exhibits(plan: Plan, causes: Sequence[Cause], log_tail: LogTail) -> Mapping[str, Any]:
    """The end of the log and the script that repeats the export, by cell."""
    order = dict.fromkeys([cause.cells[0].id for cause in causes] + [cell.id for cause in causes for cell in cause.cells])
    planned = plan.placed
    return {cell: {"log": log_tail(cell), "script": repro.render(*planned[cell])} for cell in [*order][:EXHIBITS]}
