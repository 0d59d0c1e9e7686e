"""All faults, in the order of the checks that must catch them."""

from __future__ import annotations

from tests.mutants.faults import branches, delivery, extremes, interface, mode, parity, shapes, structure, weights
from tests.mutants.work import Fault

_MODULES = (weights, interface, structure, parity, shapes, branches, mode, extremes, delivery)
FAULTS: tuple[Fault, ...] = tuple(fault for module in _MODULES for fault in module.FAULTS)
