"""Verdicts that hold for several files: those on what a graph computes, for files that are equal but for their stamps.

What a file is, says of itself and answers on its own inputs is measured on each; see `registry.Registered.shared`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from exporters import graph
from orchestrator.result import CheckStatus
from orchestrator.verify.base import Candidate, Verdict
from orchestrator.verify.registry import CHECKS

Key = tuple[str, str, tuple[str, ...]]


class Shared:
    """The verdicts of one unit: its candidates have one model, one reference and one exporter."""

    def __init__(self) -> None:
        self._known: dict[Key, Mapping[str, Verdict]] = {}

    def taken_over(self, key: Key | None) -> Mapping[str, Verdict]:
        """By check what an earlier candidate of the same key got, as that one's."""
        return self._known.get(key, {}) if key else {}

    def remember(self, cell: str, key: Key | None, verdicts: Iterable[Verdict]) -> None:
        """Keep what holds for candidates to come; a check that could not run is tried again.

        Args:
            cell: Identifier of the cell whose artifact was judged.
            key: Of that candidate.
            verdicts: Of all its checks.
        """
        if key and key not in self._known:
            checks = ((verdict, verdict.check) for verdict in verdicts)
            self._known[key] = {
                check.id: replace(verdict, check=replace(check, shared_with=cell, seconds=0.0))
                for verdict, check in checks
                if CHECKS[check.id].shared and check.status is not CheckStatus.ERROR
            }


def key_of(candidate: Candidate) -> Key | None:
    """Equal for candidates with the same graph, weights and target; None for what is no ONNX file, or not there."""
    data = tuple(sorted(file.sha256 for file in candidate.artifact.files[1:]))
    try:
        return candidate.target.name, graph.digest_without_stamps(candidate.path), data
    except (DecodeError, OSError):
        return None
