"""What was found out about the mutants that survive: why nobody catches them, by fault."""

from __future__ import annotations

from collections.abc import Mapping

REASONS: Mapping[str, str] = {}
