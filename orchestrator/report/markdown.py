"""report.md: the report as GitHub-flavoured Markdown, for a pull request, an issue or a step summary.

What models, configs and logs said is shown as text: it cannot become a table, a link or HTML.
"""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from orchestrator import layout
from orchestrator.report import advice, wording
from orchestrator.report.summary import CellReport, Report, gone
from orchestrator.result import Check

SPECIAL = re.compile(r"[\\`*\[\]<>~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^[#+=-]|^\d+[.)](?=\s|$)")
"""What starts markup in GitHub's dialect, anywhere or at the start of a text; a backslash makes each of them plain."""


def render(report: Report, rows: Sequence[CellReport] | None = None) -> str:
    """The report as Markdown; paths are relative to the run folder, where it lies.

    Args:
        report: Of the run.
        rows: Cells that the table has; all if it is None.
    """
    table = _cells(report.cells if rows is None else rows)
    below = [*_failures(report), *_gone(report), *_notes(report), *_agreements(report), *_provenance(report)]
    return "\n".join([*_head(report), *table, *below]) + "\n"


def escape(text: str) -> str:
    """A text as it is, on one line, whatever is in it."""
    return SPECIAL.sub(lambda match: f"{match[0][:-1]}\\{match[0][-1]}", wording.visible(text))


def code(text: str) -> str:
    """A text as a code span; its fence is longer than any run of backticks in it."""
    text = wording.visible(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if text.startswith("`") or text.endswith("`") else f"{fence}{text}{fence}"


def _head(report: Report) -> Iterator[str]:
    took = wording.elapsed(report)
    counts = ", ".join(f"{count} {status}" for status, count in wording.tally(report.counts))
    yield f"# {escape(wording.headline(report))}"
    yield ""
    yield f"{escape(counts)}{f', in {took}' if took else ''}. Run {code(report.run.run_id)}:"
    yield ""
    yield code(shlex.join(report.run.command))


def _cells(rows: Iterable[CellReport]) -> Iterator[str]:
    yield ""
    yield from _table([name for name, _, _ in COLUMNS], [align for _, align, _ in COLUMNS])
    for cell in rows:
        yield _row(text(cell) for _, _, text in COLUMNS)


def _failures(report: Report) -> Iterator[str]:
    failures = wording.failures(report)
    if failures:
        yield from ("", "## What failed")
    for cell in failures:
        folder = layout.cell_folder(cell.id)
        yield from ("", f"### {code(cell.id)} {escape(cell.status)}", "")
        yield from (f"- {escape(problem)}" for problem in wording.problems(cell))
        yield f"- **Next:** {escape(advice.next_step(cell))}"
        yield f"- Files: {code(str(folder))}"
        if cell.checks:
            yield from ("", *_checks(cell.checks))


def _gone(report: Report) -> Iterator[str]:
    if gone(report):
        yield from ("", "## Gone", "")
    for regression in gone(report):
        yield f"- {code(regression.cell)}: {escape(regression.message)}. **Next:** {escape(advice.GONE)}"


def _checks(checks: Iterable[Check]) -> Iterator[str]:
    yield from _table(["check", "status", "measured", "bound", ""], [":--", ":--", "--:", "--:", ":--"])
    for check in checks:
        figures = ["" if value is None else f"{value:.1e}" for value in (check.measured, check.threshold)]
        yield _row([escape(check.id), escape(check.status), *figures, escape(check.detail)])


def _notes(report: Report) -> Iterator[str]:
    notes = wording.notes(report)
    if notes:
        yield from ("", "## To know", "")
    for note in notes:
        yield f"- {note.kind}: {escape(note.text)} ({', '.join(map(code, note.cells))})"


def _agreements(report: Report) -> Iterator[str]:
    """A line for all opsets of which the same is true."""
    opsets: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for pair in report.agreements:
        exporters = f"{pair.exporters[0]} and {pair.exporters[1]}"
        opsets[pair.model, exporters, pair.dtype, pair.target, wording.agreement(pair)].append(pair.opset)
    if opsets:
        yield from ("", "## Exporters beside each other", "")
        yield from _table(["model", "exporters", "dtype", "target", "opsets", "answers"], [":--"] * 6)
    for (*cell, answers), which in opsets.items():
        yield _row([*map(escape, cell), ", ".join(map(str, which)), escape(answers)])


def _provenance(report: Report) -> Iterator[str]:
    yield from ("", "## Made with", "")
    yield from _table(["", ""], [":--", ":--"])
    for name, value in [*report.run.versions.items(), *report.run.host.items()]:
        yield _row([escape(name), "" if value is None else escape(str(value))])


def _table(names: list[str], alignments: list[str]) -> list[str]:
    return [_row(names), _row(alignments)]


def _row(texts: Iterable[str]) -> str:
    return "| {} |".format(" | ".join(text.replace("|", "\\|") for text in texts))


def _status(cell: CellReport) -> str:
    text = escape(wording.status(cell))
    return text if cell.expected else f"**{text}**"


COLUMNS: tuple[tuple[str, str, Callable[[CellReport], str]], ...] = (
    ("cell", ":--", lambda cell: code(cell.id)),
    ("status", ":--", _status),
    ("worst error", "--:", lambda cell: wording.error_and_bound(cell.checks)),
    ("opset", "--:", wording.opset),
    ("size", "--:", lambda cell: wording.size(cell.artifact.bytes) if cell.artifact else ""),
    ("operators", "--:", lambda cell: str(sum(cell.artifact.op_counts.values())) if cell.artifact else ""),
    ("time", "--:", wording.took),
    ("memory", "--:", lambda cell: wording.size(cell.peak_memory) if cell.peak_memory else ""),
)
