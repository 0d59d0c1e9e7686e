"""The contract between the verifier and one check."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.result import Artifact, Check, CheckStatus, Finding
from orchestrator.spec import ModelSpec, Target, VerifySpec

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import torch

    from orchestrator.verify.evaluator import Evaluator
    from orchestrator.verify.reference import Probe, Reference
    from orchestrator.verify.session import Session

REFERENCE_EVALUATOR = "ReferenceEvaluator"
"""The one value of `Target.provider` that is no execution provider of ONNX Runtime."""


class ArtifactError(Exception):
    """The artifact is at fault, in one line: the check that meets it has failed, whatever it looked for."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An artifact on disk and what it is to be judged against; lives in the worker only."""

    folder: Path
    """Absolute; holds the files of the artifact, under the names in `artifact.files`."""
    artifact: Artifact
    opset: int
    """As requested."""
    model: ModelSpec
    dtype: str
    target: Target
    spec: VerifySpec
    reference: Reference
    module: torch.nn.Module
    """Eager, in the dtype and mode of the cell, as it was exported; a check leaves it as it was."""
    exporter: str
    """That made the artifact; any other name than those in `exporters.registry` means that nobody knows."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Node name → the model's source line, `package/file.py:12 in forward`; nothing where nobody knows."""
    domains: frozenset[str] = frozenset()
    """Of operators besides the standard ones: an artifact made elsewhere may ask for the target's own runtime."""

    @property
    def path(self) -> Path:
        """The graph file, absolute."""
        return self.folder / self.artifact.files[0].name


@dataclass(frozen=True, kw_only=True)
class Subject(Candidate):
    """A candidate while it is judged: with the means to run it."""

    session: Session | Evaluator
    """Runs the artifact by its absolute path on the target's provider."""
    native: Callable[[], str | None]
    """Waits for the native checker, which works meanwhile in a process of its own: its complaint, or None."""
    threads: int = 1
    """That the session may use within an operator."""
    _answers: dict[str, list[np.ndarray]] = field(default_factory=dict, init=False, repr=False)

    @functools.cached_property
    def proto(self) -> onnx.ModelProto:
        """The graph file as it lies there, external data not loaded.

        Raises:
            ArtifactError: it is no ONNX file.
        """
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

        try:
            return onnx.load(self.path, format="protobuf", load_external_data=False)
        except DecodeError as error:
            raise ArtifactError(f"{self.path.name} is no ONNX file: {error}") from error

    def answer(self, probe: Probe) -> list[np.ndarray]:
        """Outputs on a probe of the reference, in the artifact's order; run once and shared by all checks.

        Raises:
            ArtifactError: the artifact does not load or does not run.
        """
        if probe.name not in self._answers:
            self._answers[probe.name] = self.session(probe.inputs)
        return self._answers[probe.name]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one check says."""

    check: Check
    findings: tuple[Finding, ...] = ()


TOLD = 5
"""Problems of a check that are told: a thousand tensors may have the same one."""


def judged(check: str, problems: Sequence[str], detail: str) -> Verdict:
    """Failed with the first problems in one line, or passed with the detail."""
    status = CheckStatus.FAILED if problems else CheckStatus.PASSED
    rest = len(problems) - TOLD
    told = [*problems[:TOLD], *([f"and {rest} more"] if rest > 0 else [])]
    return Verdict(check=Check(id=check, status=status, detail="; ".join(told) or detail))


CheckFunction = Callable[[Subject], Verdict]
"""A check module's `check`.

An `ArtifactError` becomes a check with status `failed`, whatever else it raises one with status `error`.
"""
