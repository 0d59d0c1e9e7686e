"""What the verbs runs, show and diff say to a person, as lines of text."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from orchestrator import layout
from orchestrator.history.compare import RunDiff
from orchestrator.history.followed import Night
from orchestrator.history.index import RunEntry
from orchestrator.report import advice, judgement, wording
from orchestrator.report.summary import CellReport, RunReport
from orchestrator.result import ValueInfo
from orchestrator.store.ledger import RunStatus

ENDED = {
    RunStatus.RUNNING: "no end on record",
    RunStatus.INTERRUPTED: "interrupted",
    RunStatus.REFUSED: "ended by the environment",
}
COMMAND = ("python", "-m", "orchestrator")


def aligned(rows: Iterable[Sequence[str]], indent: int = 0) -> Iterator[str]:
    """Rows of texts as lines, each column as wide as its widest text."""
    shown = [[wording.visible(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        yield (" " * indent + "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True))).rstrip()


def runs(entries: Sequence[RunEntry]) -> Iterator[str]:
    """A line per run."""
    yield from aligned([("run", "began (UTC)", "took", "cells", "how it ended", "asked for"), *map(_run, entries)])


def cell(run: RunReport, row: CellReport, folder: Path) -> Iterator[str]:
    """All that is known of a cell of a run, but for its log.

    Args:
        run: That it was in.
        row: Of the cell.
        folder: Of the run.
    """
    yield from judgement.lines(row, row.id)
    yield ""
    yield from aligned([(label, text) for label, text in _facts(run, row, folder) if text], indent=2)


def nights(cells: Sequence[Night]) -> Iterator[str]:
    """A cell over runs: a line for each, with what is not as in the run before."""
    yield from aligned(
        [("run", "status", "worst error", "size", "operators", "time", "changed"), *map(_night, cells)], indent=2
    )


def diff(found: RunDiff) -> Iterator[str]:
    """What is another in a later run."""
    yield from (f"{line}" for line in found.surroundings)
    for cell_diff in found.cells:
        yield wording.visible(cell_diff.cell)
        yield from aligned([(change.kind, change.message) for change in cell_diff.changes], indent=2)
        if cell_diff.why_exported and cell_diff.why_exported != wording.FIRST_TIME:
            yield wording.visible(f"  exported anew: {cell_diff.why_exported}")
    verdict = "differs" if len(found.cells) == 1 else "differ"
    yield f"{wording.count(len(found.cells), 'cell')} {verdict}, {found.same:,} as before  ({found.before} → {found.after})"


def _run(entry: RunEntry) -> tuple[str, ...]:
    run, counts = entry.report, entry.counts
    if run is None or counts is None:
        return entry.id, "", "", "", "cannot be read", entry.problem or ""
    words = run.command[len(COMMAND) :] if run.command[: len(COMMAND)] == COMMAND else run.command
    took = wording.duration(_seconds(run)) if run.finished else ""
    return entry.id, run.started[:16].replace("T", " "), took, f"{sum(counts.values()):,}", _ended(entry), shlex.join(words)


def _ended(entry: RunEntry) -> str:
    assert entry.report and entry.counts, "it can be read"
    if entry.report.status is not RunStatus.FINISHED:
        return ENDED[entry.report.status]
    if entry.report.exit_code == 0:
        return "as expected"
    return f"{entry.unexpected} not as expected" if entry.unexpected else "cells are gone"


def _seconds(run: RunReport) -> float:
    assert run.finished, "it has an end"
    return (datetime.fromisoformat(run.finished) - datetime.fromisoformat(run.started)).total_seconds()


def _facts(run: RunReport, row: CellReport, folder: Path) -> Iterator[tuple[str, str]]:
    yield "run", run.run_id
    if not row.expected:
        yield from (("problem", problem) for problem in wording.problems(row))
        yield "next", advice.next_step(row)
    if row.artifact:
        place = str(folder / row.artifact.path) if row.artifact.path else f"in the store, SHA-256 {row.artifact.sha256}"
        yield "artifact", place
        count = sum(row.artifact.op_counts.values())
        yield "", f"{wording.size(row.artifact.bytes)}, {wording.count(count, 'operator')}, opset {wording.opset(row)}"
        yield from (("input", _value(value)) for value in row.artifact.inputs)
        yield from (("output", _value(value)) for value in row.artifact.outputs)
    yield "time", ", ".join(f"{stage} {wording.duration(seconds)}" for stage, seconds in row.durations.items())
    yield "memory", wording.size(row.peak_memory) if row.peak_memory else ""
    yield "origin", row.origin
    yield "exported", row.why_exported or ""
    yield "files", str(folder / layout.cell_folder(row.id))


def _value(value: ValueInfo) -> str:
    return f"{value.name}  {value.dtype} [{', '.join('?' if axis is None else str(axis) for axis in value.shape)}]"


def _night(night: Night) -> tuple[str, ...]:
    row, artifact = night.cell, night.cell.artifact
    return (
        night.run,
        wording.status(row) if row.expected else f"{row.status} (not expected)",
        wording.error_and_bound(row.checks),
        wording.size(artifact.bytes) if artifact else "",
        str(sum(artifact.op_counts.values())) if artifact else "",
        wording.took(row),
        "; ".join(change.message if change.kind == "status" else f"{change.kind} {change.message}" for change in night.changes),
    )
