"""What happened, as frozen values: events of a unit, and the outcome of a cell. Serialised with msgspec, in field order.

A change of a field that readers of report.json or ledger.jsonl can see raises SCHEMA_VERSION.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

SCHEMA_VERSION = 1


class Status(enum.StrEnum):
    """What happened to a cell."""

    PASSED = "passed"
    """Every check passed on the delivered bytes."""
    EXPORT_FAILED = "export_failed"
    """The model could not be built, or the exporter raised."""
    CHECK_FAILED = "check_failed"
    """There is an artifact and a check said no."""
    CRASHED = "crashed"
    """The process died: a signal, an exit code, a log over its limit."""
    TIMEOUT = "timeout"
    """A stage passed its deadline."""
    OOM = "oom"
    """The process tree passed its memory limit."""
    INFRA_ERROR = "infra_error"
    """The machine, not the model: a lost node, a full disk, a broken store."""
    SKIPPED = "skipped"
    """Not run, for the reason given."""
    UNVERIFIED = "unverified"
    """Exported with verify=off: never published as passed."""


class Origin(enum.StrEnum):
    """Where a cell's outcome comes from."""

    RAN = "ran"
    CACHE = "cache"
    RESUMED = "resumed"


class Stage(enum.StrEnum):
    """The stages of a cell, in order."""

    BUILD = "build"
    REFERENCE = "reference"
    CAPTURE = "capture"
    EMIT = "emit"
    VERIFY = "verify"


class CheckStatus(enum.StrEnum):
    """The outcome of one check."""

    PASSED = "passed"
    FAILED = "failed"
    FINDING = "finding"
    """Something to know that does not fail the cell."""
    NOT_APPLICABLE = "not_applicable"
    """With the reason in the detail."""
    ERROR = "error"
    """It should have run and could not: fails the cell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeError:
    """How far the artifact was off on one probe, in the output that came nearest to its bound."""

    probe: str
    """example, the name of a case, or the sizes as `batch=3`."""
    measured: float | None
    """None if it has no figure: NaN, another shape, no answer."""
    threshold: float | None
    """None if nothing was measured, or the answer must be equal."""
    answers: str = ""
    """Digest of the artifact's answers: equal for equal bits; empty if there is no answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One named test on an artifact."""

    id: str
    """interface, structure, parity, shapes, delivery, …"""
    status: CheckStatus
    detail: str
    """What a person should know, one line: what was wrong, on which input."""
    measured: float | None = None
    """The worst error, where the check measures one."""
    threshold: float | None = None
    seconds: float = 0.0
    shared_with: str | None = None
    """The cell on whose artifact it was measured, which is equal to this one up to its stamps; None: on this one."""
    probes: tuple[ProbeError, ...] = ()
    """Of a check that compares answers, in the order in which it asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What was seen on the way and does not decide the verdict."""

    kind: str
    """exporter_warning, stray_process, constant_output, …"""
    message: str
    source: str | None = None
    """Line of the model, `package/file.py:12`."""


class Rule(enum.StrEnum):
    """By which an outcome is worse than the one that was accepted."""

    NEW_FAILURE = "new_failure"
    """The cell ends otherwise, and not as expected."""
    GONE = "gone"
    """The same command does not have the cell any more, or skips it."""
    INTERFACE = "interface"
    """An input or output is gone, or a dynamic axis of one is fixed."""
    OPERATORS = "operators"
    """There is an operator that was not there."""
    ERROR = "error"
    """An error came much nearer to its bound."""
    SIZE = "size"
    """Graph and weights grew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Regression:
    """What of a cell is worse than what was accepted."""

    cell: str
    """Identifier."""
    rule: Rule
    message: str
    """One line for a person: what it was, what it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """Time and memory of an artifact beside eager's on the example, in one process, in turn."""

    artifact_seconds: float
    """From arrays to arrays, the median."""
    eager_seconds: float
    ratio: float
    """The artifact's time over eager's, the median of the pairs."""
    pairs: int
    """So often each of the two was asked."""
    threads: int
    """That each had."""
    artifact_bytes: int
    """By which the process grew at most from before the artifact was loaded until it had answered."""
    eager_bytes: int
    """Parameters and buffers, and by which the process grew at most until eager had answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellError:
    """Why a cell has no verdict on an artifact, as text."""

    stage: Stage
    kind: str
    """Class of the exception, or untrusted, signal, exit_code, log_limit, deadline, memory, disk_full, …"""
    message: str
    """One line."""
    traceback: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRef:
    """A file by content; its bytes are in the store under the digest."""

    name: str
    """As it is called beside the artifact, no folder."""
    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueInfo:
    """An input or output as the artifact declares it."""

    name: str
    dtype: str
    """Name as in torch."""
    shape: tuple[int | str | None, ...]
    """A string is a symbolic dimension, None an unnamed one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """One ONNX graph and its external data."""

    files: tuple[FileRef, ...]
    """The graph first."""
    opset: int
    """Of the default domain, read from the file."""
    ir_version: int
    op_counts: Mapping[str, int]
    """Per operator type, subgraphs included; operators of other domains as domain::type."""
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    made_from: str
    """exported, fed_back or stamped: see exporters.base.Emission."""
    ranges: Mapping[str, tuple[int, int | None]] | None = None
    """Per named dimension the sizes that the captured program admits; None if the exporter could not tell."""
    weights_as_inputs: tuple[str, ...] = ()
    """Weights that are inputs as well, because that was asked for."""

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class CellResult:
    """The outcome of one cell."""

    cell: str
    """Identifier."""
    status: Status
    reason: str
    """One line for a person; empty if passed."""
    origin: Origin = Origin.RAN
    attempts: int = 1
    checks: tuple[Check, ...] = ()
    findings: tuple[Finding, ...] = ()
    error: CellError | None = None
    artifact: Artifact | None = None
    attachments: tuple[FileRef, ...] = ()
    """export.log, sources.json and the files of test_data_set_0 (named `test_data_set_0/input_0.pb`), all in the store."""
    durations: Mapping[str, float] = field(default_factory=dict)
    """Seconds per stage, and `total`; stages that a unit shares are given whole to each of its cells."""
    peak_memory: int | None = None
    """Bytes that the unit's processes held at most while they worked for the cell; None if nobody looked from outside."""
    export_key: str | None = None
    """Digest of all that decides the artifact's bytes, see `orchestrator.keys`."""
    verify_key: str | None = None
    """Digest of all that decides the verdict."""
    why_exported: str | None = None
    """What of the export key is new; None if it was not exported, or nobody knows."""
    speed: Speed | None = None
    """Only from a unit that measures it, see `measure`; it is no part of the outcome."""

    @property
    def files(self) -> tuple[FileRef, ...]:
        """All that the store keeps of it."""
        return (*self.attachments, *(self.artifact.files if self.artifact else ()))


class StageStarted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A unit begins a stage."""

    unit: str
    cell: str | None
    """None: the stage works for all cells of the unit that have no verdict yet."""
    stage: Stage


class CellFinished(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A cell has its outcome."""

    result: CellResult


# Structs and not dataclasses because msgspec tells the members of a union apart by a tag, which dataclasses cannot carry.
Event = StageStarted | CellFinished
"""What a unit streams while it works."""
