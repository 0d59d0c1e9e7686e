"""Which cell a line of output, a second of time, a death and a stray process belong to.

Follows one attempt at a unit, in whatever process it runs; what ended it and how that was noticed is the caller's business.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.errors import StorageError
from orchestrator.result import (
    CellError,
    CellFinished,
    CellResult,
    Event,
    FileRef,
    Finding,
    Stage,
    StageStarted,
    Status,
)
from orchestrator.spec import UnitTask
from orchestrator.store.blobs import BlobStore

TAIL_BYTES = 4096
"""Of a cell's output, in the error of a cell that died: the end, where the last words are."""

LOG_NAME = "export.log"


@dataclass(frozen=True, kw_only=True, slots=True)
class Death:
    """How an attempt ended before all its cells had a verdict."""

    status: Status
    """crashed, timeout, oom or infra_error."""
    kind: str
    """signal, exit_code, log_limit, no_verdict, deadline, memory, or a StorageError's kind."""
    message: str
    """One line that continues `<stage>: `."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Span:
    """What lies between one StageStarted and the next event."""

    cell: str | None
    """None: the stage works for all cells of the unit."""
    stage: Stage
    log_from: int
    """Where in the log its output begins."""
    log_to: int
    seconds: float
    memory: int | None
    """Bytes that were held at most; None if nobody looked."""


def waiting(task: UnitTask) -> tuple[str, ...]:
    """The cells that the unit has to decide, in plan order."""
    return tuple(cell.id for cell in task.unit.cells if cell.skip is None and cell.id not in task.done)


def without(task: UnitTask, decided: Sequence[str]) -> UnitTask:
    """The task for the next attempt."""
    return replace(task, done=(*task.done, *decided))


class Attribution:
    """The bookkeeping of one attempt.

    A verdict is held until the next sign of life, so that what its process left behind can be noted in it.
    """

    def __init__(self, task: UnitTask, log: Path) -> None:
        """Begin, with the clock running.

        Args:
            task: What the attempt has to do.
            log: The file that takes everything that the attempt prints; it may be written to meanwhile.
        """
        self.decided: list[str] = []
        """Cells that have a verdict by now, in this order."""
        self._task = task
        self._log = log
        self._store = BlobStore(Path(task.store))
        self._spans: list[_Span] = []
        self._current: StageStarted | None = None
        self._log_from = 0
        self._memory: int | None = None
        self._began = time.monotonic()
        self._held: CellResult | None = None

    @property
    def undecided(self) -> tuple[str, ...]:
        """The cells without a verdict, in plan order."""
        return tuple(cell for cell in waiting(self._task) if cell not in self.decided)

    @property
    def stage(self) -> Stage:
        """What the attempt is at; before the first event it has yet to build."""
        return self._current.stage if self._current else Stage.BUILD

    def see(self, event: Event, log_bytes: int) -> Iterator[Event]:
        """Take note of an event that came when the log had this length, and pass on what can be passed on."""
        self._close_span(log_bytes)
        yield from self._release()
        match event:
            case StageStarted():
                self._current = event
                yield event
            case CellFinished(result=result):
                self.decided.append(result.cell)
                self._held = self._as_observed(result)
                # What comes before the next stage is for nobody in particular.
                self._current = StageStarted(unit=self._task.unit.id, cell=None, stage=self.stage)

    def see_memory(self, held: int) -> None:
        """Take note of the bytes that the attempt's processes hold at this moment."""
        self._memory = max(held, self._memory or 0)

    def cell_log_bytes(self, log_bytes: int) -> int:
        """How much of a log of this length belongs to the cell that is worked on, what all cells share included."""
        cell = self._current.cell if self._current else None
        return sum(span.log_to - span.log_from for span in self._spans_of(cell)) + log_bytes - self._log_from

    def died(self, death: Death, log_bytes: int) -> Iterator[Event]:
        """End the attempt by a death: charge the cells that the running stage works for.

        Between two cells nobody is charged, and the next attempt goes on with what is left; it cannot go on for ever because
        a cell was decided before.
        """
        self._close_span(log_bytes)
        if self._held is not None:
            finding = Finding(kind="unclean_end", message=f"after the verdict its process ended: {death.message}")
            yield from self._release(finding)
        elif self._current is not None and self._current.cell is not None:
            yield self._charge(self._current.cell, death)
        else:
            for cell in self.undecided:
                yield self._charge(cell, death)

    def ended(self, strays: Sequence[str]) -> Iterator[Event]:
        """End the attempt as the unit wanted it.

        Args:
            strays: Threads and processes that it left running, in words.
        """
        yield from self._release(*(Finding(kind="stray_process", message=f"the unit left {stray} running") for stray in strays))
        for cell in self.undecided:
            message = "the unit ended without a verdict for this cell"
            yield self._charge(cell, Death(status=Status.CRASHED, kind="no_verdict", message=message))

    def _close_span(self, log_bytes: int) -> None:
        now = time.monotonic()
        span = _Span(
            cell=self._current.cell if self._current else None,
            stage=self.stage,
            log_from=self._log_from,
            log_to=log_bytes,
            seconds=now - self._began,
            memory=self._memory,
        )
        self._spans.append(span)
        self._log_from, self._began, self._memory = log_bytes, now, None

    def _release(self, *findings: Finding) -> Iterator[Event]:
        if self._held is not None:
            yield CellFinished(result=replace(self._held, findings=(*self._held.findings, *findings)))
            self._held = None

    def _charge(self, cell: str, death: Death) -> CellFinished:
        self.decided.append(cell)
        error = CellError(stage=self.stage, kind=death.kind, message=death.message, traceback=self._tail(cell))
        result = CellResult(
            cell=cell,
            status=death.status,
            reason=f"{self.stage}: {death.message}",
            error=error,
            durations=self._durations(cell),
        )
        return CellFinished(result=self._as_observed(result))

    def _durations(self, cell: str) -> dict[str, float]:
        seconds: dict[str, float] = {}
        for span in self._spans_of(cell):
            seconds[span.stage.value] = seconds.get(span.stage.value, 0.0) + span.seconds
        return seconds | {"total": sum(seconds.values())}

    def _spans_of(self, cell: str | None) -> Iterator[_Span]:
        return (span for span in self._spans if span.cell in (None, cell))

    def _as_observed(self, result: CellResult) -> CellResult:
        """The result with what was seen from outside: the cell's output and its memory."""
        try:
            sha256, size = self._store.put_bytes(self._output(result.cell))
        except StorageError as error:
            return refused(result.cell, self.stage, error)
        memory = max((span.memory for span in self._spans_of(result.cell) if span.memory is not None), default=None)
        log = FileRef(name=LOG_NAME, sha256=sha256, bytes=size)
        return replace(result, attachments=(*result.attachments, log), peak_memory=memory)

    def _output(self, cell: str) -> bytes:
        """What was printed for the cell, no more than its limit."""
        left, parts = self._task.unit.limits.log, []
        with self._log.open("rb") as log:
            for span in self._spans_of(cell):
                log.seek(span.log_from)
                parts.append(log.read(min(span.log_to - span.log_from, left)))
                left -= len(parts[-1])
        return b"".join(parts)

    def _tail(self, cell: str) -> str:
        """The end of what was printed for the cell."""
        wanted, parts = TAIL_BYTES, []
        with self._log.open("rb") as log:
            for span in reversed(list(self._spans_of(cell))):
                log.seek(max(span.log_from, span.log_to - wanted))
                parts.append(log.read(span.log_to - log.tell()))
                wanted -= len(parts[-1])
        return b"".join(reversed(parts)).decode(errors="replace")


def refused(cell: str, stage: Stage, error: StorageError) -> CellResult:
    """The outcome of a cell whose results could not be kept."""
    message = str(error).splitlines()[0]
    return CellResult(
        cell=cell,
        status=Status.INFRA_ERROR,
        reason=f"{stage}: {message}",
        error=CellError(stage=stage, kind=error.kind, message=message),
    )
