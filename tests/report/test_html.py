from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from orchestrator.report import html
from orchestrator.report.causes import causes
from orchestrator.report.html import where
from orchestrator.report.summary import Report, summarise
from orchestrator.result import Status
from tests import synthetic
from tests.hostile import HOSTILE, hostile_run


class Parsed(HTMLParser):
    """The elements of a page with their attributes and, of scripts and styles, their text."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(data.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(report: Report | None = None) -> Parsed:
    plan, records = synthetic.every_status()
    return Parsed(html.render(report or summarise(plan, records), plan, lambda _: "the end\n"))


def test_the_verdict_comes_first_and_is_the_title() -> None:
    parsed = page()
    assert parsed.texts["title"] == ["✘ 7 of 14 cells did not end as expected"]
    text = re.sub(r"\s+", " ", "".join(text for texts in parsed.texts.values() for text in texts))
    assert text.index("7 of 14 cells") < text.index("What failed") < text.index("Cells") < text.index("How far")


def test_a_good_run_says_so_and_calls_what_failed_known() -> None:
    unit = synthetic.unit(opsets=(18, 20))
    report = summarise(synthetic.plan(unit), synthetic.ledger(*(synthetic.result(cell.id) for cell in unit.cells)))
    data = html.render(report, synthetic.plan(unit), str).decode()
    assert "<title>✔ All 2 cells ended as expected</title>" in data
    assert "What failed" not in data.split("<script>")[0]
    known = replace(report, cells=(replace(report.cells[0], status=Status.CHECK_FAILED, reason="x"), report.cells[1]))
    assert "What is known to fail" in html.render(known, synthetic.plan(unit), str).decode()


def test_the_page_needs_nothing_else_and_links_only_to_itself_and_to_the_run_folder() -> None:
    parsed = page()
    links = [value for _, attributes in parsed.elements for name in ("src", "href") if (value := attributes.get(name))]
    assert {link for link in links if not link.startswith("#")} == {"data:,", "report.md"}
    assert {tag for tag, _ in parsed.elements} & {"img", "iframe", "object", "embed", "base", "form"} == {"form"}
    assert "@import" not in parsed.texts["style"][0]
    assert "url(" not in parsed.texts["style"][0]


def test_the_policy_names_the_script_and_the_styles_by_their_digests_and_allows_nothing_else() -> None:
    parsed = page()
    (policy,) = [each["content"] for each in parsed.attributes("meta") if each.get("http-equiv") == "Content-Security-Policy"]

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    data, script = parsed.texts["script"]
    assert json.loads(data)["cells"]
    assert dict(rule.strip().split(" ", 1) for rule in str(policy).split(";")) == {
        "default-src": "'none'",
        "style-src": digest(parsed.texts["style"][0]),
        "script-src": digest(script),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not [
        tag for tag, attributes in parsed.elements if any(name.startswith("on") or name == "style" for name in attributes)
    ]


def test_what_configs_models_and_logs_said_is_text() -> None:
    plan, records = hostile_run()
    harmless = page()
    parsed = Parsed(html.render(summarise(plan, records), plan, lambda _: HOSTILE))
    assert {tag for tag, _ in parsed.elements} <= {tag for tag, _ in harmless.elements}
    assert len(parsed.attributes("script")) == len(harmless.attributes("script")) == 2
    data = json.loads(parsed.texts["script"][0])
    assert {exhibit["log"] for exhibit in data["exhibits"].values()} == {HOSTILE}
    assert any(HOSTILE in str(text) for text in parsed.texts["p"])


def test_the_same_run_gives_the_same_bytes() -> None:
    plan, records = synthetic.every_status()
    assert html.render(summarise(plan, records), plan, str) == html.render(summarise(plan, records), plan, str)


def test_a_run_that_only_lacks_cells_of_the_baseline_is_no_good_one() -> None:
    plan, records = synthetic.worse_than_accepted()
    report = summarise(plan, records)
    fine = replace(report, cells=tuple(replace(cell, expected=True, regressions=()) for cell in report.cells))
    data = html.render(fine, plan, str).decode()
    assert "<title>✘ All 2 cells ended as expected, and 1 of the baseline is gone</title>" in data
    assert "python -m orchestrator accept latest" in data


def test_a_run_that_goes_on_has_a_page_too() -> None:
    plan, records = synthetic.every_status()
    data = html.render(summarise(plan, records[:3]), plan, str).decode()
    assert "Not finished: 2 of 14 cells have an outcome" in data


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("a",), "a · dynamo · opset 20 · cpu"),
        (("a", "b", "c"), "a, b, c · dynamo · opset 20 · cpu"),
        (("a", "b", "c", "d"), "4 models · dynamo · opset 20 · cpu"),
    ],
)
def test_where_a_cause_is_in_a_few_words(names: tuple[str, ...], text: str) -> None:
    units = [synthetic.unit(name) for name in names]
    results = [synthetic.result(unit.cells[0].id, Status.CRASHED) for unit in units]
    (cause,) = causes(summarise(synthetic.plan(*units), synthetic.ledger(*results)).cells)
    assert where(cause) == text
