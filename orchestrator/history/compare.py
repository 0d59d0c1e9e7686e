"""What is another than it was: two outcomes of a cell, and two runs. Measures and tells; what of it is bad others decide.

Latency is not compared: it is measured on request only, and pairs of one host would be needed.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator import provenance
from orchestrator.report import figures, wording
from orchestrator.report.summary import CellReport, Report
from orchestrator.result import Status, ValueInfo


class Kind(enum.StrEnum):
    """What has changed."""

    GONE = "gone"
    """The cell, from the plan."""
    NEW = "new"
    STATUS = "status"
    OPSET = "opset"
    INTERFACE = "interface"
    """An input or output is gone or came, or an axis of it is another."""
    OPERATORS = "operators"
    ERROR = "error"
    """Of a check, over its bound."""
    SIZE = "size"
    """Of the graph and its weights."""
    BYTES = "bytes"
    """Nothing of the above, and yet the graph is another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing that is not as it was."""

    kind: Kind
    message: str
    """One line for a person."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What of a cell is compared."""

    status: Status
    reason: str = ""
    """One line for a person; empty if it passed."""
    opset: int | None = None
    """Of the file; None if there is none, as for all that follows."""
    bytes: int | None = None
    sha256: str | None = None
    """Of the graph."""
    op_counts: Mapping[str, int] | None = None
    inputs: tuple[ValueInfo, ...] = ()
    outputs: tuple[ValueInfo, ...] = ()
    errors: Mapping[str, float] | None = None
    """By check, the measured error over its bound."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellDiff:
    """A cell that is not as it was."""

    cell: str
    changes: tuple[Change, ...]
    why_exported: str | None
    """What of its key was new, by the later run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunDiff:
    """What is another in a later run."""

    before: str
    """Identifier of the run."""
    after: str
    surroundings: tuple[str, ...]
    """Versions of tools and facts on the host, a line each."""
    cells: tuple[CellDiff, ...]
    same: int
    """Cells in which nothing changed."""


def snapshot(cell: CellReport) -> Snapshot:
    """What of a cell is compared."""
    outcome = Snapshot(status=cell.status, reason=cell.reason)
    if cell.artifact is None:
        return outcome
    return Snapshot(
        status=cell.status,
        reason=cell.reason,
        opset=cell.opset_actual,
        bytes=cell.artifact.bytes,
        sha256=cell.artifact.sha256,
        op_counts=cell.artifact.op_counts,
        inputs=cell.artifact.inputs,
        outputs=cell.artifact.outputs,
        errors={check.id: share for check in cell.checks if (share := figures.share(check)) is not None},
    )


def between(before: Report, after: Report) -> RunDiff:
    """What is another in a later run.

    Args:
        before: The earlier run.
        after: The later one; its order of the cells is that of the answer, cells that are gone come last.
    """
    then, now = ({cell.id: cell for cell in report.cells} for report in (before, after))
    diffs = [_cell_diff(cell, then.get(cell), now.get(cell)) for cell in dict.fromkeys((*now, *then))]
    changed = tuple(diff for diff in diffs if diff.changes)
    tools = provenance.changes(before.run.versions, after.run.versions)
    host = provenance.changes(*({key: str(value) for key, value in run.run.host.items()} for run in (before, after)))
    return RunDiff(
        before=before.run.run_id,
        after=after.run.run_id,
        surroundings=(*tools, *host),
        cells=changed,
        same=len(diffs) - len(changed),
    )


def changes(before: Snapshot, after: Snapshot) -> list[Change]:
    """What of a cell is another."""
    found: list[Change] = []
    if before.status is not after.status:
        why = f": {after.reason}" if after.reason else ""
        found.append(Change(kind=Kind.STATUS, message=f"{before.status} → {after.status}{why}"))
    if before.bytes is None or after.bytes is None:
        return found
    if before.opset != after.opset:
        found.append(Change(kind=Kind.OPSET, message=f"{before.opset} → {after.opset}"))
    found += [Change(kind=Kind.INTERFACE, message=message) for message in interface(before, after)]
    if counts := operators(before, after):
        found.append(Change(kind=Kind.OPERATORS, message=counts))
    found += [Change(kind=Kind.ERROR, message=message) for message in _errors(before, after)]
    if before.bytes != after.bytes:
        found.append(Change(kind=Kind.SIZE, message=size(before.bytes, after.bytes)))
    if not found and before.sha256 != after.sha256:
        found.append(Change(kind=Kind.BYTES, message="the graph has other bytes, of the same operators and size"))
    return found


def interface(before: Snapshot, after: Snapshot) -> Iterator[str]:
    """What of the inputs and outputs is another, a line each."""
    for what, then, now in (("input", before.inputs, after.inputs), ("output", before.outputs, after.outputs)):
        values = {value.name: value for value in now}
        for value in then:
            if value.name not in values:
                yield f"{what} {value.name} is gone"
            else:
                yield from (f"{what} {value.name}: {message}" for message in _axes(value, values[value.name]))
        yield from (f"{what} {name} is new" for name in values.keys() - {value.name for value in then})


def lost_axes(before: Snapshot, after: Snapshot) -> Iterator[str]:
    """What a caller could do before and cannot any more: inputs and outputs that are gone, dynamic axes that are fixed."""
    for what, then, now in (("input", before.inputs, after.inputs), ("output", before.outputs, after.outputs)):
        values = {value.name: value for value in now}
        for value in then:
            if value.name not in values:
                yield f"{what} {value.name} is gone"
                continue
            for axis, (old, new) in enumerate(zip(value.shape, values[value.name].shape, strict=False)):
                if isinstance(new, int) and not isinstance(old, int):
                    yield f"{what} {value.name}: axis {axis} was {_axis(old)}, and is {new}"


def new_operators(before: Snapshot, after: Snapshot) -> list[str]:
    """Types of operators that were not in the graph."""
    return sorted({*(after.op_counts or {})} - {*(before.op_counts or {})})


def operators(before: Snapshot, after: Snapshot) -> str:
    """The operators of which there is another number: `Conv 53 → 54, Shape 0 → 3`."""
    then, now = before.op_counts or {}, after.op_counts or {}
    names = sorted(name for name in {*then, *now} if then.get(name, 0) != now.get(name, 0))
    return ", ".join(f"{name} {then.get(name, 0)} → {now.get(name, 0)}" for name in names)


def size(before: int, after: int) -> str:
    """`102 MB → 107 MB (+5.0 %)`."""
    return f"{wording.size(before)} → {wording.size(after)} ({100 * (after / before - 1):+.2g} %)"


def error(check: str, before: float, after: float) -> str:
    """`parity: 0.041 → 0.35 of its bound`."""
    return f"{check}: {before:.2g} → {after:.2g} of its bound"


def _errors(before: Snapshot, after: Snapshot) -> Iterator[str]:
    then = before.errors or {}
    for check, now in (after.errors or {}).items():
        if check in then and f"{then[check]:.2g}" != f"{now:.2g}":
            yield error(check, then[check], now)


def _axes(before: ValueInfo, after: ValueInfo) -> Iterator[str]:
    if before.dtype != after.dtype:
        yield f"{before.dtype} → {after.dtype}"
    if before.shape != after.shape:
        yield f"{_shape(before.shape)} → {_shape(after.shape)}"


def _shape(shape: Sequence[int | str | None]) -> str:
    return f"[{', '.join(map(_axis, shape))}]"


def _axis(size: int | str | None) -> str:
    return "?" if size is None else str(size)


def _cell_diff(cell: str, before: CellReport | None, after: CellReport | None) -> CellDiff:
    if before is None:
        assert after, "it is in one of them"
        told = [Change(kind=Kind.NEW, message=f"it was not planned before; {after.status}")]
    elif after is None:
        told = [Change(kind=Kind.GONE, message=f"it is not planned any more; it was {before.status}")]
    else:
        told = changes(snapshot(before), snapshot(after))
    return CellDiff(cell=cell, changes=tuple(told), why_exported=after.why_exported if after else None)
