"""Figures of a cell that are followed over runs."""

from __future__ import annotations

from orchestrator.report import wording
from orchestrator.report.summary import CellReport
from orchestrator.result import Check, Origin, Stage

EXPORT = (Stage.BUILD, Stage.CAPTURE, Stage.EMIT)
"""Stages that an export takes without its verification."""


def share(check: Check) -> float | None:
    """A measured error over its bound; None if nothing was measured."""
    return check.measured / check.threshold if check.measured is not None and check.threshold else None


def error_ratio(cell: CellReport) -> float | None:
    """The worst measured error over its bound; None if nothing was measured."""
    check = wording.worst(cell.checks)
    return share(check) if check else None


def export_seconds(cell: CellReport) -> float | None:
    """What the export took; None if its run took it over from an earlier one."""
    if cell.origin is not Origin.RAN or not cell.durations:
        return None
    return sum(cell.durations.get(stage, 0.0) for stage in EXPORT)
