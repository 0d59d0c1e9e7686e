"""fleet.html: the nights of a fleet as one page: a strip of outcomes per cell, and how size, error and export time went.

Static: it needs no script and nothing from elsewhere. Its colours and signs are those of report.html.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from orchestrator import layout
from orchestrator.history.index import RunEntry
from orchestrator.history.trends import Point, Trend, series
from orchestrator.report import html, wording

NIGHT = 8
"""Width of a night in a strip, in pixels."""
WIDTH, HEIGHT = 80, 22
"""Of the line of a figure, in pixels."""
FORMATS = {"size": lambda value: wording.size(int(value)), "error": "{:.2g}".format, "export": wording.duration}


class Bar(NamedTuple):
    """Nights in a row with the same outcome."""

    x: int
    width: int
    kind: str
    """Class of its colour: a status, known, worse, or none where the cell was not planned."""
    text: str


class Line(NamedTuple):
    """A figure over the nights."""

    value: str
    """The newest one."""
    points: str
    """Of an SVG polyline; empty if it never changed."""
    text: str
    """For those who do not see it."""


def render(runs: Sequence[RunEntry], trends: Sequence[Trend]) -> bytes:
    """The page; its links lead to the runs' own pages, beside which it lies.

    Args:
        runs: The nights, the oldest first, at least one.
        trends: Of their cells, what is red first.
    """
    red = [trend for trend in trends if trend.red_since]
    style = html.joined(("page.css", "fleet.css"))
    text = html.template("fleet.html.j2").render(
        runs=[(run, runs[-1] is run) for run in reversed(runs)],
        dates=[run.id[4:6] + "-" + run.id[6:8] for run in runs],
        red=red,
        total=len(trends),
        bars=bars,
        lines=lines,
        trends=trends,
        width=NIGHT * len(runs),
        kinds=sorted({bar.kind for trend in trends for bar in bars(trend, [run.id for run in runs])}),
        page=layout.REPORT_HTML,
        night_of={run.id: f"{run.id[:4]}-{run.id[4:6]}-{run.id[6:8]}" for run in runs},
        policy=html.policy(style),
        style=style,
    )
    return text.encode("utf-8", "replace")


def bars(trend: Trend, runs: Sequence[str]) -> Iterator[Bar]:
    """The strip of a cell: as few pieces as there are changes, so that thousands of quiet cells stay a small page."""
    kinds = [_kind(point) for point in trend.points]
    x = 0
    for (kind, text), group in itertools.groupby(kinds):
        length = len(list(group))
        yield Bar(
            x * NIGHT, length * NIGHT - 1, kind, f"{text}, {runs[x]}" + (f" to {runs[x + length - 1]}" if length > 1 else "")
        )
        x += length


def lines(trend: Trend) -> Iterator[Line]:
    """The figures of a cell over the nights."""
    for name, values in series(trend).items():
        known = [(night, value) for night, value in enumerate(values) if value is not None]
        if not known:
            yield Line("", "", "")
            continue
        shown = [FORMATS[name](value) for _, value in known]
        path = _polyline(known, len(values)) if len(set(shown)) > 1 else ""
        yield Line(shown[-1], path, f"{name} from {shown[0]} to {shown[-1]}")


def _kind(point: Point | None) -> tuple[str, str]:
    """The class of a night's colour, and what it says."""
    if point is None:
        return "none", "not planned"
    if point.worse:
        return "worse", f"{point.status}, worse than accepted"
    if point.expected and point.status not in wording.GOOD:
        return "known", f"{point.status}, known"
    return point.status, point.status


def _polyline(known: Sequence[tuple[int, float]], nights: int) -> str:
    low, high = min(value for _, value in known), max(value for _, value in known)
    step, span = WIDTH / max(1, nights - 1), high - low or 1
    return " ".join(f"{night * step:.1f},{HEIGHT - 2 - (HEIGHT - 4) * (value - low) / span:.1f}" for night, value in known)
