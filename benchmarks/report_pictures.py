"""The pictures of docs/report.md: `python -m benchmarks.report_pictures RUN`; RUN is the small run that the page tells of."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser

from benchmarks.report_page import made_up
from orchestrator import layout
from orchestrator.report import html
from orchestrator.report.summary import summarise
from tests import synthetic
from tests.browser import browser

IMAGES = Path(__file__).parents[1] / "docs" / "images"
COLOURS = 200
SIZES = {"wide": ({"width": 1280, "height": 860}, 1.0), "phone": ({"width": 390, "height": 844}, 1.5)}
CELLS = "document.getElementById('cells').scrollIntoView()"
Scheme = Literal["light", "dark"]


def pages(small: Path, folder: Path) -> dict[str, Path]:
    """The three runs, as pages."""
    found = {"small": small / layout.REPORT_HTML}
    for name, (plan, records) in {"failing": synthetic.every_status(), "large": made_up(5000)}.items():
        found[name] = folder / f"{name}.html"
        found[name].write_bytes(html.render(summarise(plan, records), plan, lambda _: ""))
    return found


def views() -> Iterator[tuple[str, str, str]]:
    """Page, name of the picture, and what is done before it is taken."""
    yield "small", "small", ""
    yield "failing", "failing", ""
    yield "large", "large", CELLS
    yield "small", "cell", "panel.open(CELLS.find(cell => cell.problems.length))"
    yield "small", "plots", "panel.open(CELLS[0]); document.querySelectorAll('.plot')[0].parentElement.scrollIntoView()"


def take(chromium: Browser, page: Path, name: str, size: str, scheme: Scheme, act: str) -> None:
    """One picture, with few colours: the pages have no more."""
    viewport, scale = SIZES[size]
    visit = chromium.new_page(viewport=viewport, color_scheme=scheme, device_scale_factor=scale)  # type: ignore[arg-type]
    visit.goto(page.as_uri())
    visit.evaluate(act or "1")
    visit.wait_for_timeout(300)
    path = IMAGES / f"report-{name}-{size}-{scheme}.png"
    visit.screenshot(path=path)
    visit.close()
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    print(f"{path.name}  {path.stat().st_size / 1000:.0f} kB")


def main(small: Path) -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        made = pages(small.resolve(), Path(folder))
        for page, name, act in views():
            for size in SIZES:
                schemes: tuple[Scheme, ...] = ("light", "dark")
                for scheme in schemes:
                    take(chromium, made[page], name, size, scheme, act)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
