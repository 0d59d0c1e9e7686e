"""The contract between an exporter and its caller.

Imports no torch, so that planning can use `Dim` and `TensorSpec`. An exporter is a module with one function, `export`, of the
type `Exporter`; it is listed in `registry.py`. It knows torch.onnx and nothing of Ray, runs or stores.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class Dim:
    """A named dynamic dimension; all axes that carry its name have one size."""

    name: str
    min: int
    max: int | None
    """Largest size, inclusive; None is unbounded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """One input: its place in forward, its shape over named dimensions, and how values are drawn."""

    name: str
    """Name in the artifact; for a keyword input also the parameter of forward."""
    shape: tuple[int | str, ...]
    """A number is a static size, a string names a `Dim`."""
    dtype: str
    """Name as in torch: float32, int64, bool, …"""
    keyword: bool = False
    """Passed to forward by name instead of by position."""
    generator: Literal["uniform", "normal", "mask"] = "normal"
    """uniform over `range`; normal with mean 0 and deviation 1; mask: a prefix of ones of random length, then zeros."""
    range: tuple[float, float] | None = None
    """[low, high) for uniform; low == high gives a constant."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """The inputs of one call of the module, in memory only."""

    specs: tuple[TensorSpec, ...]
    """In the order of forward: positional ones first."""
    values: Mapping[str, torch.Tensor]
    """By input name."""
    outputs: tuple[str, ...]
    """Names that the outputs get in the artifact, in flattened order; empty lets the exporter choose."""

    @property
    def args(self) -> tuple[torch.Tensor, ...]:
        """The positional arguments of forward."""
        return tuple(self.values[spec.name] for spec in self.specs if not spec.keyword)

    @property
    def kwargs(self) -> dict[str, torch.Tensor]:
        """The keyword arguments of forward."""
        return {spec.name: self.values[spec.name] for spec in self.specs if spec.keyword}


class Step(enum.StrEnum):
    """What an exporter is about to do."""

    CAPTURE = "capture"
    EMIT = "emit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Announces the next step before it starts, so that a death or a deadline is charged to the right cells."""

    step: Step
    opset: int | None
    """The one opset that the step works for; None: all that were asked for and not yet emitted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExporterWarning:
    """What the exporter said while it worked."""

    category: str
    """Class of the warning or level of the log record: TracerWarning, WARNING, …"""
    message: str
    source: str | None
    """Line of the model that it is about, `package/file.py:12`, relative to the import path; None if unknown."""


MadeFrom = Literal["exported", "fed_back", "stamped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Emission:
    """One artifact, written to the folder."""

    opset: int
    """As asked for."""
    opset_actual: int
    """As the file's opset_import says for the default domain."""
    made_from: MadeFrom
    """exported: an export of its own; fed_back: emitted from a shared capture; stamped: from another opset of its group."""
    files: tuple[str, ...]
    """Names in the folder: the graph first, then its external data."""
    ranges: Mapping[str, tuple[int, int | None]] | None
    """Per named dimension the sizes that the captured program admits; None if this exporter cannot tell."""
    warnings: tuple[ExporterWarning, ...]
    sources: Mapping[str, str]
    """Node name → the model's source line, `package/file.py:12 in forward`; taken from metadata that the file no longer has."""
    capture_seconds: float
    """Seconds from the module to the exporter's graph in memory."""
    emit_seconds: float
    """Seconds from there to closed files."""
    weights_as_inputs: tuple[str, ...] = ()
    """Weights that are inputs of the graph as well, because the options ask for it; a check tolerates no others."""
    alone: str | None = None
    """Why this opset was exported by itself although several were asked for, which could have shared one capture."""


class CaptureError(Exception):
    """The module cannot be captured, at whatever opset; the cause is chained."""


class Exporter(Protocol):
    """What a module in `exporters` provides."""

    def __call__(
        self,
        module: torch.nn.Module,
        example: Example,
        dims: Mapping[str, Dim],
        opsets: Sequence[int],
        options: Mapping[str, Any],
        folder: Path,
    ) -> Iterator[Progress | Emission]:
        """Write one artifact per opset into the folder; whether opsets share work is the exporter's own business.

        Yields a Progress before each step and an Emission as soon as its files are closed. The module is left as it was found,
        training flags of every submodule included.

        Raises:
            CaptureError: no opset can succeed.
            Exception: whatever torch raised for the opset of the last Progress; the caller may ask again for the others.
        """
        ...
