"""What is recorded of each artifact that was judged: JSON, from which every table is made without a second run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from tests.mutants.equivalence import FLOOR


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One artifact."""

    kind: Literal["mutant", "harmless", "clean"]
    model: str
    exporter: str
    opset: int
    seed: int
    fault: str
    """Or the harmless change; empty for a clean export."""
    where: str
    check: str
    """That must catch it; empty for what must pass."""
    failing: Mapping[str, str]
    """The checks that said no, with what they said."""
    distance: float | None
    """From the good artifact, see `equivalence`; None if the fault is not one of numbers."""
    others: Mapping[str, bool]
    """Whether another tool objects."""
    seconds: float
    """That the verifier took."""
    error: str = ""
    """Why the fault could not be put there; then it counts as nothing."""

    @property
    def equivalent(self) -> bool:
        """It computes what the good artifact computes."""
        return self.distance is not None and self.distance <= FLOOR

    @property
    def counts(self) -> bool:
        """It is a mutant and not equivalent."""
        return self.kind == "mutant" and not self.error and not self.equivalent

    @property
    def caught(self) -> bool:
        """Some check said no."""
        return bool(self.failing)

    @property
    def named(self) -> bool:
        """The check that must catch it said no."""
        return self.check in self.failing


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A whole run."""

    tuning: bool
    seed: int
    seconds: float
    workers: int
    versions: Mapping[str, str]
    outcomes: tuple[Outcome, ...]


def read(path: Path) -> Benchmark:
    """From the file that the benchmark wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Benchmark)


def write(benchmark: Benchmark, path: Path) -> None:
    """For people as well: one value a line."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(benchmark)))
