"""How far the artifacts of two exporters answer the same, from what their checks recorded: a line of the report, no check.

The answers are not kept. Equal digests are equal bits. Where they differ, both errors are distances from one answer of the
model, and so the two are apart by no more than their sum.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from orchestrator.result import CellResult, ProbeError, Status
from orchestrator.spec import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Two cells that differ in their exporter only and both passed."""

    model: str
    opset: int
    dtype: str
    target: str
    cells: tuple[str, str]
    exporters: tuple[str, str]
    probes: int
    """On which both were asked."""
    equal: int
    """Of these, where both answered the same bits."""
    apart: float
    """At most, on any of the others and in any output, over the bound of the error; 0 if there are no others."""


_Group = tuple[tuple[str, int, str, str], tuple[tuple[str, str], ...]]
"""Model, opset, dtype and target, and the swept keys."""


def agreements(plan: Plan, results: Mapping[str, CellResult]) -> tuple[Agreement, ...]:
    """Every two cells to compare, in plan order.

    Args:
        plan: Of the run.
        results: By cell.
    """
    groups: dict[_Group, list[tuple[str, CellResult]]] = defaultdict(list)
    for unit in plan.units:
        for cell in unit.cells:
            result = results.get(cell.id)
            if result and result.status is Status.PASSED:
                place = (unit.model.name, cell.opset, unit.dtype, cell.target.name)
                groups[place, cell.swept].append((unit.exporter.name, result))
    return tuple(_agreements(groups))


def _agreements(groups: Mapping[_Group, list[tuple[str, CellResult]]]) -> Iterator[Agreement]:
    for ((model, opset, dtype, target), _), members in groups.items():
        for (one, first), (other, second) in combinations(members, 2):
            ours, theirs = _probes(first), _probes(second)
            shared = [(ours[name], theirs[name]) for name in ours if name in theirs]
            differ = [pair for pair in shared if not pair[0].answers or pair[0].answers != pair[1].answers]
            if shared:
                yield Agreement(
                    model=model,
                    opset=opset,
                    dtype=dtype,
                    target=target,
                    cells=(first.cell, second.cell),
                    exporters=(one, other),
                    probes=len(shared),
                    equal=len(shared) - len(differ),
                    apart=max((_share(a) + _share(b) for a, b in differ), default=0.0),
                )


def _probes(result: CellResult) -> dict[str, ProbeError]:
    return {probe.probe: probe for check in result.checks for probe in check.probes}


def _share(probe: ProbeError) -> float:
    """Of the bound; what has none must be equal and is, or the cell would not have passed."""
    return (probe.measured or 0.0) / probe.threshold if probe.threshold else 0.0
