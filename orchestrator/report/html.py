"""report.html: the report as one page that needs nothing else, for a phone, a wide screen, light and dark.

What models, configs and logs said is shown as text, and the page's policy lets no script run but its own and no request leave.
The files of the page are in `page/`; what the page shows per cell is made in the browser from `html_data`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
import shlex
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import EXIT_PASSED
from orchestrator.report import advice, wording
from orchestrator.report.causes import Cause, causes
from orchestrator.report.html_data import SIGNS, LogTail, document
from orchestrator.report.html_funnel import funnel
from orchestrator.report.summary import Report, exit_code, gone
from orchestrator.result import Status
from orchestrator.spec import Plan

if TYPE_CHECKING:
    import jinja2

STYLES = ("vendor/uPlot.min.css", "page.css")
SCRIPTS = ("vendor/uPlot.iife.min.js", "model.js", "matrix.js", "plots.js", "panel.js", "main.js")
"""In this order: a later one may use what an earlier one defines."""
HERE = "\0"
"""Where the data go."""
NAMED = 3
"""Cells of a cause that are named; a button shows the others."""


def render(report: Report, plan: Plan, log_tail: LogTail) -> bytes:
    """The page; its links lead to files of the run folder, where it lies.

    Args:
        report: Of the run.
        plan: Of the run.
        log_tail: Reads the end of a cell's log.
    """
    found = causes(report.cells)
    style, script = joined(STYLES), joined(SCRIPTS)
    text = template("page.html.j2").render(
        report=report,
        good=exit_code(report) == EXIT_PASSED,
        headline=wording.headline(report),
        took=wording.elapsed(report),
        command=shlex.join(report.run.command),
        causes=found,
        notes=wording.notes(report),
        known={status for status in Status if all(cell.expected for cell in report.cells if cell.status is status)},
        worse=Counter(regression.rule for cell in report.cells for regression in cell.regressions),
        gone=gone(report),
        if_gone=advice.GONE,
        host=dict(_host(report)),
        funnel=_bars(report),
        signs=SIGNS,
        named=NAMED,
        policy=policy(style, script),
        style=style,
        script=script,
        data=HERE,
    )
    # The data are most of the page, so that they go in as bytes; after them only our own script follows. In a script element
    # nothing but `<` can end it or begin a comment.
    before, _, after = text.rpartition(HERE)
    data = document(report, plan, found, log_tail).replace(b"<", b"\\u003c")
    return b"".join([before.encode("utf-8", "replace"), data, after.encode()])


class _Bar(NamedTuple):
    """A step of the funnel as it is drawn."""

    name: str
    reached: int
    share: float
    """Percent of all cells."""
    lost: list[tuple[Status, int]]


def _bars(report: Report) -> Iterator[_Bar]:
    for step in funnel(report.cells):
        share = 100 * step.reached / max(1, len(report.cells))
        yield _Bar(step.name, step.reached, round(share, 2), [*step.lost.items()])


def _host(report: Report) -> Iterator[tuple[str, str]]:
    for name, value in report.run.host.items():
        if value is not None:
            yield name, wording.size(int(value)) if name == "memory" else str(value)


def where(cause: Cause) -> str:
    """Which cells a cause is in, in a few words: `3 models, dynamo, opset 18 and 20`."""
    parts = []
    for noun, plural, values in (
        ("model", "models", dict.fromkeys(cell.model for cell in cause.cells)),
        ("exporter", "exporters", dict.fromkeys(cell.exporter for cell in cause.cells)),
        ("opset", "opsets", dict.fromkeys(str(cell.opset) for cell in cause.cells)),
        ("target", "targets", dict.fromkeys(cell.target for cell in cause.cells)),
    ):
        label = f"{noun if len(values) == 1 else plural} " if noun == "opset" else ""
        parts.append(f"{label}{', '.join(values)}" if len(values) <= NAMED else f"{len(values)} {plural}")
    return " · ".join(parts)


def policy(style: str, script: str = "") -> str:
    """What the browser lets a page do: its own styles and script, known by their digests, and nothing from elsewhere."""
    ours = f"style-src '{_digest(style)}'" + (f"; script-src '{_digest(script)}'" if script else "")
    return f"default-src 'none'; {ours}; img-src data:; base-uri 'none'; form-action 'none'"


def _digest(text: str) -> str:
    """As a content security policy names a script or a style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@functools.cache
def joined(names: tuple[str, ...]) -> str:
    """Files of `page/`, one after the other."""
    folder = importlib.resources.files("orchestrator.report") / "page"
    return "\n".join(folder.joinpath(name).read_text("utf-8") for name in names)


@functools.cache
def template(name: str) -> jinja2.Template:
    """A template of `page/`, with what our pages have in common."""
    # Only here: what plans or shows a terminal does not need it.
    import jinja2

    loader = jinja2.PackageLoader("orchestrator.report", "page")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"visible": wording.visible, "where": where}
    environment.globals["count"] = wording.count
    return environment.get_template(name)
