"""All checks in the order in which they run and are reported, with the levels that ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.spec import FULL, VerifyLevel
from orchestrator.verify import (
    branches,
    delivery,
    determinism,
    extremes,
    interface,
    mode,
    parity,
    runtime,
    shapes,
    structure,
    weights,
)
from orchestrator.verify.base import CheckFunction

EVERY_LEVEL = FULL | {VerifyLevel.QUICK}


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A check and when it runs."""

    check: CheckFunction
    levels: frozenset[VerifyLevel]
    shared: bool = False
    """Its verdict holds for every file that is equal up to its stamps; the others are about each file as it lies there."""


CHECKS: Mapping[str, Registered] = {
    "delivery": Registered(check=delivery.check, levels=EVERY_LEVEL),
    "structure": Registered(check=structure.check, levels=EVERY_LEVEL),
    "interface": Registered(check=interface.check, levels=EVERY_LEVEL),
    "branches": Registered(check=branches.check, levels=FULL, shared=True),
    "parity": Registered(check=parity.check, levels=EVERY_LEVEL),
    "shapes": Registered(check=shapes.check, levels=EVERY_LEVEL, shared=True),
    "weights": Registered(check=weights.check, levels=FULL, shared=True),
    "mode": Registered(check=mode.check, levels=FULL, shared=True),
    "extremes": Registered(check=extremes.check, levels=FULL, shared=True),
    "determinism": Registered(check=determinism.check, levels=FULL, shared=True),
    "runtime": Registered(check=runtime.check, levels=FULL, shared=True),
}
