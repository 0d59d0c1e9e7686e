"""report.html in a real browser: what it shows, how it is used, and that it asks nobody for anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.report_page import made_up
from orchestrator.report import html
from orchestrator.report.summary import summarise
from orchestrator.result import Status
from orchestrator.spec import Plan
from orchestrator.store.ledger import Record
from tests import synthetic
from tests.browser import MISSING, browser, executable
from tests.hostile import HOSTILE, hostile_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.skipif(executable() is None, reason=MISSING)

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
CONTRAST = """
() => {
  const channel = value => { value /= 255; return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = element => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim();
    const element = walker.currentNode.parentElement;
    if (!text || element.closest("script, style, noscript, :disabled, .skip") || !element.checkVisibility()) continue;
    const [one, other] = [parse(getComputedStyle(element).color), behind(element)].map(light).sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) poor.push(`${element.className}: ${text} ${ratio.toFixed(2)}`);
  }
  return [...new Set(poor)];
}
"""
NAMELESS = """
() => [...document.querySelectorAll("button, input, select, a, [role=gridcell], dialog, section, pre")]
  .filter(element => !element.classList.contains("none") && element.checkVisibility())
  .filter(element => !(element.getAttribute("aria-label") || element.getAttribute("aria-labelledby") || element.labels?.length
    || element.innerText.trim() || element.querySelector(":scope > h3")))
  .map(element => element.outerHTML.slice(0, 120))
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    paths = {}
    runs = {
        "all": synthetic.every_status(),
        "worse": synthetic.worse_than_accepted(),
        "shared": shared(),
        "hostile": hostile_run(),
        "big": made_up(360),
    }
    for name, (plan, records) in runs.items():
        paths[name] = folder / f"{name}.html"
        paths[name].write_bytes(html.render(summarise(plan, records), plan, lambda _: f"{HOSTILE}\nthe last line\n"))
    return paths


def shared() -> tuple[Plan, list[Record]]:
    """Two cells, one of whose checks was measured on the other."""
    unit = synthetic.unit(opsets=(18, 20))
    first, second = (synthetic.result(cell.id) for cell in unit.cells)
    checks = [replace(check, shared_with=first.cell) if check.id == "shapes" else check for check in second.checks]
    return synthetic.plan(unit), synthetic.ledger(first, replace(second, checks=tuple(checks)))


class Visit:
    """A page, and what it did beside showing itself."""

    def __init__(self, chromium: Browser, path: Path, **options: Any) -> None:
        self.page: Page = chromium.new_page(**{"viewport": WIDE, **options})
        self.odd: list[str] = []
        self.page.on("request", lambda request: request.url.startswith(path.as_uri()) or self.odd.append(request.url))
        self.page.on("console", lambda message: self.odd.append(message.text))
        self.page.on("pageerror", lambda error: self.odd.append(str(error)))
        self.page.on("dialog", lambda dialog: self.odd.append(dialog.message))
        self.page.goto(path.as_uri())

    def shown(self) -> str:
        return self.page.locator("#shown").inner_text()

    def opened(self) -> str:
        return self.page.locator("#panel-title").inner_text()


@pytest.fixture
def visit(chromium: Browser, pages: dict[str, Path]) -> Iterator[Any]:
    visits: list[Visit] = []

    def start(name: str = "all", **options: Any) -> Visit:
        visits.append(Visit(chromium, pages[name], **options))
        return visits[-1]

    yield start
    for each in visits:
        each.page.close()
        assert each.odd == []


def test_every_cell_opens_and_no_text_becomes_code_or_a_request(visit: Any) -> None:
    for name in ("hostile", "all", "worse"):
        page = visit(name).page
        for number in range(page.evaluate("CELLS.length")):
            page.evaluate("number => panel.open(CELLS[number])", number)
        assert page.evaluate("typeof hacked") == "undefined"
        assert page.locator("img, iframe").count() == 0
        assert {urls.split(":")[0] for urls in page.evaluate("[...document.links].map(link => link.href)")} == {"file"}
    # Every attempt that the policy blocks is a message on the console, of which `visit` allows none.


def test_filters_narrow_what_is_shown_and_are_cleared_together(visit: Any) -> None:
    seen = visit()
    page = seen.page
    assert seen.shown() == "14 cells"
    page.get_by_role("checkbox", name="check_failed").check()
    assert seen.shown() == "2 of 14 cells"
    page.get_by_role("searchbox").fill("MINILM opset")
    assert seen.shown() == "1 of 14 cells"
    assert page.locator(".list tbody th").all_inner_texts() == ["minilm-dynamo-opset17-float32-cpu"]
    assert page.locator("[role=rowheader]:visible").all_inner_texts() == ["minilm · cpu"]
    page.get_by_role("button", name="Clear filters").click()
    assert seen.shown() == "14 cells"
    page.get_by_role("combobox", name="exporter").select_option("torchscript")
    assert seen.shown() == "3 of 14 cells"
    page.get_by_role("combobox", name="opset").select_option("17")
    assert seen.shown() == "0 of 14 cells"
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_role("combobox", name="target").select_option("cuda")
    assert seen.shown() == "1 of 14 cells"
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_role("checkbox", name="not as expected").check()
    assert seen.shown() == "7 of 14 cells"


def test_a_message_is_found_by_its_text(visit: Any) -> None:
    seen = visit()
    seen.page.get_by_role("searchbox").fill("sigsegv")
    assert seen.shown() == "1 of 14 cells"


def test_a_cause_and_a_step_of_the_funnel_show_their_cells(visit: Any) -> None:
    seen = visit("big")
    causes = seen.page.locator(".cause", has=seen.page.get_by_role("button"))
    number = int(causes.first.locator(".number").inner_text().split()[0])
    causes.first.get_by_role("button").click()
    assert seen.shown() == f"{number} of 360 cells (one cause)"
    lost = seen.page.locator(".funnel button").first
    number = int(re.sub(r"\D", "", lost.inner_text().split("\n")[-1]))
    lost.click()
    assert seen.shown() == f"{number} of 360 cells (fell out at captured)"


def test_what_is_worse_than_accepted_is_told_apart_from_what_passed(visit: Any) -> None:
    seen = visit("worse")
    page = seen.page
    section = page.get_by_role("region", name="Against the baseline")
    assert "2 cells compared" in section.inner_text()
    assert "gone gpt2-dynamo-opset20-float32-cpu it was passed, and is not planned any more" in section.inner_text()
    section.get_by_role("button", name="1 cell").click()
    assert seen.shown() == "1 of 2 cells (worse by size)"
    assert page.locator(".list .state").inner_text().split() == ["↓", "passed", "(worse)"]
    assert page.locator(".square").all_inner_texts() == ["↓", "✓"]
    page.locator(".list a").click()
    assert page.locator("#panel .problem").inner_text().startswith("baseline, size: 102 MB → 204 MB")


def test_a_large_run_lists_some_cells_and_more_when_asked(visit: Any) -> None:
    seen = visit("big")
    assert seen.page.locator(".list tbody tr").count() == 50
    seen.page.get_by_role("button", name="Show more").click()
    assert seen.page.locator(".list tbody tr").count() == 100
    first = seen.page.locator(".list tbody .state").first.inner_text()
    assert "passed" not in first


def test_the_keyboard_alone_is_enough(visit: Any) -> None:
    seen = visit()
    page = seen.page
    page.locator("#filters select").last.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "resnet50-dynamo-opset18-float32-cpu: passed"
    assert page.locator(".square[tabindex='0']").count() == 1
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.ariaLabel") == "resnet50-dynamo-opset20-float32-cpu: passed"
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.ariaLabel").startswith("mobilenet_v3_small-torchscript_script")
    page.keyboard.press("Enter")
    assert "mobilenet_v3_small-torchscript_script-opset20-float32-cpu" in seen.opened()
    assert page.evaluate("document.activeElement.id") == "panel-title"
    page.keyboard.press("Escape")
    assert not page.locator("#panel").is_visible()
    assert page.evaluate("document.activeElement.ariaLabel").startswith("mobilenet_v3_small-torchscript_script")


def test_the_matrix_stays_reachable_by_keyboard_when_its_first_cells_are_filtered_out(visit: Any) -> None:
    page = visit().page
    page.get_by_role("checkbox", name="timeout").check()
    assert page.locator(".square[tabindex='0']").evaluate_all("squares => squares.map(square => square.title)") == [
        "sleeper-dynamo-opset20-float32-cpu\ntimeout"
    ]


def test_focus_returns_to_where_a_panel_was_opened_from(visit: Any) -> None:
    page = visit().page
    link = page.locator(".list a", has_text="minilm")
    link.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert link.evaluate("link => link === document.activeElement")


def test_a_panel_leads_to_the_cells_beside_it_and_its_address_to_it(
    visit: Any, pages: dict[str, Path], chromium: Browser
) -> None:
    seen = visit()
    seen.page.locator(".list a", has_text="minilm").click()
    assert "minilm-dynamo-opset17-float32-cpu" in seen.opened()
    seen.page.get_by_role("button", name="Next").click()
    assert "segfault-dynamo-opset20-float32-cpu" in seen.opened()
    address = seen.page.url
    again = chromium.new_page()
    again.goto(address)
    assert "segfault-dynamo-opset20-float32-cpu" in again.locator("#panel-title").inner_text()
    again.close()
    seen.page.get_by_role("button", name="Close").click()
    assert seen.page.url == pages["all"].as_uri()


def test_a_panel_shows_checks_plot_operators_log_and_script(visit: Any) -> None:
    page = visit().page
    page.goto(f"{page.url}#minilm-dynamo-opset17-float32-cpu")
    panel = page.locator("#panel")
    assert panel.locator(".problem").all_inner_texts() == ["structure: the file is opset 18, asked for was 17"]
    assert "Ask for an opset that this exporter reaches" in panel.inner_text()
    assert panel.locator("tr.check.failed th").inner_text().split() == ["✘", "structure"]
    assert "1.2e-06 of 3.4e-05" in panel.locator("tr.check", has_text="parity").inner_text()
    assert panel.locator(".plot canvas").bounding_box()["width"] > 500
    assert panel.locator(".keys li").count() == 5
    assert panel.locator(".operators tbody tr").count() == 3
    assert "Converting a tensor to a Python boolean" in panel.locator(".findings").inner_text()
    assert panel.locator(".source").inner_text() == "models/resnet.py:12"
    assert panel.get_by_label("End of the log").inner_text().endswith("the last line\n")
    assert "python cells/minilm-dynamo-opset17-float32-cpu/repro.py" in panel.inner_text()
    assert {"exported", "17 → 18"} <= {*panel.locator(".facts dd").all_inner_texts()}


def test_errors_are_plotted_over_probes_beside_other_exporters_and_over_opsets(visit: Any) -> None:
    page = visit("big").page
    page.evaluate("panel.open(CELLS.find(cell => cell.status === 'passed' && cell.exporter === 'dynamo' && cell.opset === 20))")
    probes = page.locator("#panel section", has=page.get_by_role("heading", name="Error over probes and sizes"))
    assert probes.locator("canvas").count() == 1
    names = probes.locator(".u-label").all_inner_texts()
    assert names == ["at", "dynamo", "torchscript", "torchscript_script", "bound"]
    over = page.locator("#panel section", has=page.get_by_role("heading", name="Error over opsets"))
    assert over.locator("canvas").count() == 1
    assert over.locator(".u-label").all_inner_texts() == names


def test_a_check_that_was_measured_on_another_cell_leads_to_it(visit: Any) -> None:
    seen = visit("shared")
    page = seen.page
    page.locator(".list a", has_text="opset20").click()
    page.locator("#panel .detail a").click()
    assert "resnet50-dynamo-opset18-float32-cpu" in seen.opened()


def test_operators_are_compared_between_exporters_and_opsets(visit: Any) -> None:
    page = visit("big").page
    page.evaluate("panel.open(CELLS.find(cell => cell.status === 'passed' && cell.exporter === 'dynamo' && cell.opset === 18))")
    heads = page.locator("#panel .operators thead th").all_inner_texts()
    assert heads[1] == "dynamo 18, 19"
    assert "dynamo 20, 21, 22, 23" in heads
    gelu = page.locator("#panel .operators tr", has_text="Gelu")
    assert gelu.locator("td").all_inner_texts()[2 + heads.index("dynamo 20, 21, 22, 23") - 3] == "12 (+12)"


def test_the_matrix_is_coloured_by_a_figure_instead(visit: Any) -> None:
    page = visit("big").page
    page.get_by_role("combobox", name="colour by").select_option("time")
    assert page.locator("[data-heat='5']").count() > 0
    page.get_by_role("combobox", name="colour by").select_option("status")
    assert page.locator("[data-heat]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_and_everything_has_a_name(visit: Any, scheme: str) -> None:
    page = visit(color_scheme=scheme).page
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(NAMELESS) == []
    for status in Status:
        page.evaluate("status => panel.open(CELLS.find(cell => cell.status === status))", status)
        assert page.evaluate(CONTRAST) == [], status
        assert page.evaluate(NAMELESS) == [], status


def test_headings_and_landmarks_tell_the_structure(visit: Any) -> None:
    page = visit().page
    assert page.locator("h1").count() == 1
    regions = page.get_by_role("region").all()
    assert len(regions) >= 4
    snapshot = page.locator("body").aria_snapshot()
    for expected in (
        'heading "7 of 14 cells',
        "main:",
        'grid "Status of every cell"',
        'group "status"',
        'checkbox "passed',
        'searchbox "text"',
        "status:",
    ):
        assert expected in snapshot, expected


@pytest.mark.parametrize("name", ["all", "hostile", "big"])
def test_a_phone_scrolls_down_only(visit: Any, name: str) -> None:
    page = visit(name, viewport=PHONE).page
    too_wide = "document.documentElement.scrollWidth > innerWidth"
    assert not page.evaluate(too_wide)
    page.evaluate("panel.open(CELLS[0])")
    assert not page.evaluate(too_wide)
    assert not page.evaluate("document.querySelector('.body').scrollWidth > innerWidth")


def test_verdict_and_causes_need_no_script(visit: Any) -> None:
    page = visit(java_script_enabled=False).page
    assert page.locator("h1").inner_text().endswith("7 of 14 cells did not end as expected")
    assert page.locator(".cause").count() == 8
    assert page.get_by_role("link", name="report.md").is_visible()
