"""A picture of which check, and which other tool, objects to which fault: an SVG, shaded by the share of the mutants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from orchestrator.verify.registry import CHECKS
from tests.mutants import score
from tests.mutants.outcome import Benchmark, Outcome

HERE = Path(__file__).parent
NONE, ALL = (246, 248, 250), (9, 76, 150)
"""Colours of no and of all mutants."""
DARK = 0.55
"""From this share on the figure is white."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What a column says of a fault."""

    text: str
    fill: str
    ink: str
    named: bool
    """It is the check that must catch the fault."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A fault."""

    fault: str
    count: int
    cells: tuple[Cell, ...]
    first: bool
    """Of those that one check must catch."""


def render(benchmark: Benchmark) -> str:
    """The picture."""
    tools = list(score.others(benchmark.outcomes))
    lines: list[Line] = []
    before = ""
    for fault, ones in score.classes(benchmark.outcomes).items():
        if ones:
            lines.append(_line(fault, ones, tools, first=ones[0].check != before))
            before = ones[0].check
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("heat_map.svg.j2").render(lines=lines, checks=list(CHECKS), tools=tools)


def _line(fault: str, ones: Sequence[Outcome], tools: Sequence[str], *, first: bool) -> Line:
    checks = [_cell(sum(check in one.failing for one in ones), len(ones), named=check == ones[0].check) for check in CHECKS]
    whole = _cell(sum(one.caught for one in ones), len(ones), named=False)
    others = [_cell(sum(one.others.get(tool, False) for one in ones), len(ones), named=False) for tool in tools]
    return Line(fault=fault, count=len(ones), cells=(*checks, whole, *others), first=first)


def _cell(part: int, whole: int, *, named: bool) -> Cell:
    share = part / whole
    red, green, blue = (round(low + (high - low) * share) for low, high in zip(NONE, ALL, strict=True))
    text = "" if not part else str(int(100 * share))
    return Cell(text=text, fill=f"rgb({red},{green},{blue})", ink="#fff" if share >= DARK else "#1f2328", named=named)
