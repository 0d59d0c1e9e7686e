"""How far clean artifacts are from eager in float64, in errors of eager itself: `python -m benchmarks.calibration RUN [RUN …]`.

Reads report.json and plan.json of runs and prints Markdown: the distribution of e_o / e_t, and the least k with which no probe
of a cell that passed would have been an alarm. What was judged by another rule than the triangulated bound is left out.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.folder import read_plan
from orchestrator.report.zoo import read
from orchestrator.result import Status
from orchestrator.verify.compare import floor

QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One probe of one cell, in the output that came nearest to its bound."""

    group: str
    place: str
    ratio: float
    """e_o / e_t."""
    least: float
    """The k with which it would just have passed; negative where the floor alone lets it pass."""


def main() -> None:
    """Print the table."""
    points = [point for run in sys.argv[1:] for point in points_of(Path(run))]
    groups = defaultdict(list)
    for point in points:
        groups[point.group].append(point)
    print(f"| cells | probes | {' | '.join(f'{quantile:.0%}' for quantile in QUANTILES)} | most | least k |")
    print("| :-- " + "| --: " * (len(QUANTILES) + 3) + "|")
    for name, members in [*sorted(groups.items()), ("all", points)]:
        figures = " | ".join(f"{figure:.2f}" for figure in figures_of(members))
        print(f"| {name} | {len(members)} | {figures} |")
    worst = max(points, key=lambda point: point.least)
    print(f"\nThe one that needs most: {worst.place}.")


def points_of(run: Path) -> Iterator[Point]:
    """Of cells that passed; verdicts that were taken over from another cell count there."""
    placed = read_plan(run).placed
    for cell in read(run).cells:
        if cell.status is not Status.PASSED:
            continue
        k, lowest = placed[cell.id][0].verify.k, floor(np.dtype(cell.dtype))
        for probe in (probe for check in cell.checks if not check.shared_with for probe in check.probes):
            # A bound of 1 is in units of a tolerance.
            if probe.measured is not None and probe.threshold is not None and lowest < probe.threshold != 1.0:
                eager = (probe.threshold - lowest) / k
                yield Point(
                    group=f"{cell.exporter}, {cell.dtype}",
                    place=f"{cell.id} on {probe.probe}",
                    ratio=probe.measured / eager,
                    least=(probe.measured - lowest) / eager,
                )


def figures_of(points: Sequence[Point]) -> list[float]:
    """Quantiles and maximum of the ratios, and the least k."""
    ratios = sorted(point.ratio for point in points)
    ranks = [ratios[math.ceil(quantile * len(ratios)) - 1] for quantile in QUANTILES]
    return [*ranks, ratios[-1], max(0.0, *(point.least for point in points))]


if __name__ == "__main__":
    main()
