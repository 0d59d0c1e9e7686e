"""The contract between the verifier and one check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.base import Emission
from orchestrator.result import Artifact, Check, Finding
from orchestrator.spec import ModelSpec, Target, VerifySpec

if TYPE_CHECKING:
    import numpy as np

    from orchestrator.verify.reference import Reference


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An artifact on disk and what it is judged against; lives in the worker only."""

    folder: Path
    """Absolute; holds the files of the artifact, under the names in `artifact.files`."""
    artifact: Artifact
    opset: int
    """As requested."""
    emission: Emission
    model: ModelSpec
    dtype: str
    target: Target
    spec: VerifySpec
    reference: Reference
    run: Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]
    """Runs the artifact by its absolute path on the target's provider: inputs by name → outputs in the artifact's order."""

    @property
    def path(self) -> Path:
        """The graph file, absolute."""
        return self.folder / self.artifact.files[0].name


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one check says."""

    check: Check
    findings: tuple[Finding, ...] = ()


CheckFunction = Callable[[Subject], Verdict]
"""A check module's `check`; whatever it raises becomes a check with status `error`."""
