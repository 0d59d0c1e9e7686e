from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.report import markdown
from orchestrator.report.summary import summarise
from orchestrator.result import Finding, Status
from tests import synthetic

CPU = "resnet50-dynamo-opset20-float32-cpu"
EVIL = "a | b\n\n| x |\n# boo <script>alert(1)</script> [link](http://x) `code` \x1b[31m **bold** &lt;"


def test_a_report_with_every_status() -> None:
    lines = markdown.render(summarise(*synthetic.every_status())).splitlines()
    assert lines[0] == "# 7 of 14 cells did not end as expected"
    assert "`python -m orchestrator +model=resnet50`" in lines
    figures = "1.2e-06 of 3.4e-05 | 17 → 18 | 103 MB | 103 | 9.9 s | 1.53 GB"
    assert f"| `minilm-dynamo-opset17-float32-cpu` | **check_failed** | {figures} |" in lines
    assert "### `segfault-dynamo-opset20-float32-cpu` crashed" in lines
    assert "- skipped: no node has a CUDA device (`mobilenet_v3_small-dynamo-opset20-float32-cuda`)" in lines
    assert "| torch | 2.15.0 |" in lines
    assert sum(line.startswith("- **Next:** ") for line in lines) == 7


def test_a_report_in_which_all_is_well_has_no_failures() -> None:
    text = markdown.render(summarise(synthetic.plan(synthetic.unit()), synthetic.ledger(synthetic.result(CPU))))
    assert "## What failed" not in text
    assert "## To know" not in text


def test_every_table_row_has_the_columns_of_its_head() -> None:
    plan, records = synthetic.every_status()
    evil = synthetic.result(CPU, Status.CHECK_FAILED, reason=EVIL, checks=(replace(synthetic.checks()[0], detail=EVIL),))
    text = markdown.render(summarise(plan, [*records[:-1], *synthetic.ledger(evil)[1:]]))
    columns = 0
    for line in text.splitlines():
        count = line.replace("\\|", "").count("|") if line.startswith("|") else 0
        columns = (columns or count) if count else 0
        assert count == columns, line


@pytest.mark.parametrize("field", ["reason", "finding", "host"])
def test_nothing_from_elsewhere_becomes_markup(field: str) -> None:
    result = synthetic.result(CPU, Status.CRASHED, reason=EVIL if field == "reason" else "it crashed")
    report = summarise(synthetic.plan(synthetic.unit()), synthetic.ledger(result))
    if field == "finding":
        finding = Finding(kind="known_issue", message=EVIL)
        report = replace(report, cells=(replace(report.cells[0], findings=(finding,)),))
    if field == "host":
        report = replace(report, run=replace(report.run, host={"gpu": EVIL}))
    text = markdown.render(report)
    assert "\\<script\\>" in text
    assert "\\[link\\](http" in text
    assert "\n# boo" not in text
    assert "\x1b" not in text
    assert "<script" not in text.replace("\\<", "")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("export_failed", "export_failed"),
        ("__init__", "\\_\\_init\\_\\_"),
        ("# heading", "\\# heading"),
        ("- item", "\\- item"),
        ("12. item", "12\\. item"),
        ("version 2.15.0", "version 2.15.0"),
        ("*a* `b` ~c~ $d$ &amp;", "\\*a\\* \\`b\\` \\~c\\~ \\$d\\$ \\&amp;"),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_escape_touches_what_starts_markup_and_nothing_else(text: str, escaped: str) -> None:
    assert markdown.escape(text) == escaped


@pytest.mark.parametrize(
    ("text", "span"), [("plain", "`plain`"), ("a `b` c", "``a `b` c``"), ("`b`", "`` `b` ``"), ("a\nb", "`a b`")]
)
def test_a_code_span_ends_where_it_should(text: str, span: str) -> None:
    assert markdown.code(text) == span


def test_what_is_worse_than_accepted_and_what_is_gone_has_its_place() -> None:
    text = markdown.render(summarise(*synthetic.worse_than_accepted()))
    assert "**passed (worse)**" in text
    assert "- baseline, size: 102 MB → 204 MB" in text
    assert "## Gone\n\n- `gpt2-dynamo-opset20-float32-cpu`: it was passed, and is not planned any more. **Next:**" in text
