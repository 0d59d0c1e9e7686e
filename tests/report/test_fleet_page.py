from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html import unescape
from pathlib import Path

import pytest

from orchestrator.history import index
from orchestrator.history.trends import Point, Trend, nights, trends
from orchestrator.report import fleet_page
from orchestrator.result import FileRef, Status
from tests import synthetic
from tests.nights import LSTM, RESNET, name_of, night


def point(status: Status = Status.PASSED, **changed: object) -> Point:
    fields = {"expected": True, "worse": False, "bytes": 100, "error_ratio": 0.1, "export_seconds": 1.0} | changed
    return Point(status=status, **fields)  # type: ignore[arg-type]


def trend(*points: Point | None) -> Trend:
    return Trend(cell="a", points=points, red_since=None, problem="")


def test_quiet_nights_are_one_piece_of_the_strip() -> None:
    crash, known = point(Status.CRASHED, expected=False), point(Status.CRASHED)
    days = [f"01-0{day}" for day in range(1, 8)]
    strip = list(fleet_page.bars(trend(point(), point(), crash, known, point(worse=True, expected=False), None, None), days))
    assert [(bar.kind, bar.text) for bar in strip] == [
        ("passed", "passed, 01-01 to 01-02"),
        ("crashed", "crashed, 01-03"),
        ("known", "crashed, known, 01-04"),
        ("worse", "passed, worse than accepted, 01-05"),
        ("none", "not planned, 01-06 to 01-07"),
    ]
    assert [(bar.x, bar.width) for bar in strip[:2]] == [
        (0, 2 * fleet_page.NIGHT - 1),
        (2 * fleet_page.NIGHT, fleet_page.NIGHT - 1),
    ]


def test_a_figure_that_never_changed_has_no_line_and_one_that_did_keeps_within_it() -> None:
    size, error, export = fleet_page.lines(trend(point(), point(bytes=200, export_seconds=None), point(bytes=150)))
    assert (size.value, size.text, error.points, export.value, export.points) == (
        "150 B",
        "size from 100 B to 150 B",
        "",
        "1.0 s",
        "",
    )
    places = [tuple(map(float, place.split(","))) for place in size.points.split()]
    assert [x for x, _ in places] == [0, fleet_page.WIDTH / 2, fleet_page.WIDTH]
    assert [y for _, y in places] == [fleet_page.HEIGHT - 2, 2, fleet_page.HEIGHT / 2]
    assert {line.value for line in fleet_page.lines(trend(None))} == {""}


@pytest.fixture
def page(tmp_path: Path) -> str:
    night(tmp_path, 1)
    bigger = synthetic.artifact(FileRef(name="a.onnx", sha256="c" * 64, bytes=200))
    evil = synthetic.result(LSTM, Status.CRASHED, reason="<script>alert(1)</script>\x1b[2J")
    night(tmp_path, 2, synthetic.result(RESNET, artifact=bigger), evil)
    with index.opened(tmp_path) as history:
        runs = nights(history, 30)
        return fleet_page.render(runs, trends(history, runs)).decode()


def test_it_says_what_is_red_since_when_and_leads_to_the_runs(page: str) -> None:
    assert "1 of 2 cells not as expected" in page
    assert f'since <a href="{name_of(2)}/report.html">2026-01-02</a>' in page
    assert page.index(LSTM) < page.index(RESNET)
    assert page.count(f'href="{name_of(1)}/report.html"') == 1


def test_it_is_well_formed_needs_nothing_and_obeys_nobody(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[2J" in page
    assert "default-src 'none'" in unescape(page)
    assert {*re.findall(r'(?:href|src)="([^"]*)"', page)} == {
        "data:,",
        "#cells",
        f"{name_of(1)}/report.html",
        f"{name_of(2)}/report.html",
    }
    assert not re.search(r"\sstyle=", page)
    for figure in re.findall(r"<svg.*?</svg>", page, re.S):
        ET.fromstring(figure)  # noqa: S314


def test_thousands_of_cells_stay_a_page_that_opens() -> None:
    many = [Trend(cell=f"cell{n}", points=(point(),) * 30, red_since=None, problem="") for n in range(5000)]
    strips = [list(fleet_page.bars(each, ["01-01"] * 30)) for each in many]
    assert sum(map(len, strips)) == len(many)
