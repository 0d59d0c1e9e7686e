"""What every unit of work does alike, whether it exports or judges: announced and timed stages, failures as results."""

from __future__ import annotations

import dataclasses
import errno
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.build.trust import UntrustedError
from orchestrator.errors import StorageError, WrongToolsError
from orchestrator.result import CellError, CellFinished, CellResult, Finding, Stage, StageStarted, Status
from orchestrator.spec import Cell

INFRASTRUCTURE = (StorageError, WrongToolsError)
"""What is no fault of a model or an exporter."""


class Stages:
    """The stages of one unit: which it is at, and how long each took."""

    def __init__(self, unit: str, first: Stage) -> None:
        self._unit = unit
        self.current = first
        self.seconds: dict[Stage, float] = {}
        """Of the stages that were timed; one that is entered again is timed anew."""

    def start(self, stage: Stage, cell: str | None = None) -> StageStarted:
        """Enter a stage; the event is to be yielded before its work begins."""
        self.current = stage
        return StageStarted(unit=self._unit, cell=cell, stage=stage)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Time the current stage, also when it raises."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[self.current] = time.perf_counter() - began

    def finish(self, result: CellResult) -> CellFinished:
        """The outcome of a cell with the seconds of all stages so far and their sum."""
        durations = {stage.value: self.seconds[stage] for stage in Stage if stage in self.seconds}
        return CellFinished(result=dataclasses.replace(result, durations={**durations, "total": sum(durations.values())}))


def failure(cell: Cell, stage: Stage, error: Exception, findings: tuple[Finding, ...]) -> CellResult:
    """An ordinary exception as the outcome of a cell."""
    message = (str(error).strip() or type(error).__name__).splitlines()[0]
    kind = _kind(error)
    return CellResult(
        cell=cell.id,
        status=Status.INFRA_ERROR if isinstance(error, INFRASTRUCTURE) or kind == "disk_full" else Status.EXPORT_FAILED,
        reason=f"{stage}: {message}",
        findings=findings,
        error=CellError(stage=stage, kind=kind, message=message, traceback="".join(traceback.format_exception(error))),
    )


def _kind(error: Exception) -> str:
    match error:
        case StorageError():
            return error.kind
        case UntrustedError():
            return "untrusted"
        case WrongToolsError():
            return "wrong_tools"
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "disk_full"
    return type(error).__name__
