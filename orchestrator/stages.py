"""What every unit of work does alike, whether it exports or judges: announced and timed stages, failures as results."""

from __future__ import annotations

import dataclasses
import errno
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.build import patches
from orchestrator.build.trust import UntrustedError
from orchestrator.errors import StorageError, WrongToolsError
from orchestrator.result import CellError, CellFinished, CellResult, Finding, Stage, StageStarted, Status
from orchestrator.spec import Cell

INFRASTRUCTURE = (StorageError, WrongToolsError)
"""What is no fault of a model or an exporter."""
DISK_FULL = "disk_full"
NAMED_PATCHES = 5
"""Of the names that were replaced in torch, so many are told."""


class Stages:
    """The stages of one unit: which it is at, and how long each took."""

    def __init__(self, unit: str, first: Stage) -> None:
        self._unit = unit
        self.current = first
        self.seconds: dict[Stage, float] = {}
        """Of the stages that were timed; one that is entered again is timed anew."""
        self._torch = patches.snapshot()

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
        """The outcome of a cell with the seconds of all stages so far and their sum, and what is no longer torch's own."""
        durations = {stage.value: self.seconds[stage] for stage in Stage if stage in self.seconds}
        durations["total"] = sum(durations.values())
        findings = (*result.findings, *_patched(patches.replaced(self._torch)))
        return CellFinished(result=dataclasses.replace(result, durations=durations, findings=findings))


def failure(cell: Cell, stage: Stage, error: Exception, findings: tuple[Finding, ...]) -> CellResult:
    """An ordinary exception as the outcome of a cell."""
    message = (str(error).strip() or type(error).__name__).splitlines()[0]
    kind = _kind(error)
    return CellResult(
        cell=cell.id,
        status=Status.INFRA_ERROR if isinstance(error, INFRASTRUCTURE) or kind == DISK_FULL else Status.EXPORT_FAILED,
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
        case _:
            return DISK_FULL if any(map(_is_full_disk, _chain(error))) else type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was raised from or while handling: exporters wrap what a model raises."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_full_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _patched(names: tuple[str, ...]) -> Iterator[Finding]:
    if names:
        more = f" and {len(names) - NAMED_PATCHES} more" if len(names) > NAMED_PATCHES else ""
        told = ", ".join(names[:NAMED_PATCHES]) + more
        yield Finding(kind="patched_torch", message=f"the model or its export replaced in torch: {told}")
