"""The table of docs/zoo.md, made of report.json files: `python -m orchestrator.report.zoo RUN [RUN …] > docs/zoo.md`.

A cell that is in several runs is taken from the last one. Times are left out: they belong to a machine, not to a model.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from orchestrator import layout
from orchestrator.report import wording
from orchestrator.report.markdown import code, escape
from orchestrator.report.summary import CellReport, Report

HEAD = """\
# The zoo

Every model of `conf/model`, exported and judged at the standard level. The error is the worst one over all outputs and
probes, beside the bound that was measured for it. Made by `python -m orchestrator.report.zoo RUN`, which reads report.json.

| model | exporter | opset | status | worst error | size | operators |
| :-- | :-- | --: | :-- | --: | --: | --: |"""
MADE_WITH = ("torch", "onnx", "onnxscript", "onnxruntime-gpu", "onnxruntime", "transformers", "timm", "torchvision")


def render(reports: Sequence[Report]) -> str:
    """The page, with a row for each cell and a line for each known issue."""
    cells = {cell.id: cell for report in reports for cell in report.cells}
    rows = sorted(cells.values(), key=lambda cell: (cell.model, cell.exporter, cell.opset or 0))
    versions = {name: version for report in reports for name, version in report.run.versions.items() if name in MADE_WITH}
    made_with = ", ".join(f"{name} {version}" for name, version in versions.items())
    return "\n".join([HEAD, *map(_row, rows), *_issues(rows), "", f"Made with {escape(made_with)}."]) + "\n"


def read(run: Path) -> Report:
    """The report of a run folder."""
    return msgspec.json.decode((run / layout.REPORT_JSON).read_bytes(), type=Report)


def _row(cell: CellReport) -> str:
    size = wording.size(cell.artifact.bytes) if cell.artifact else ""
    operators = str(sum(cell.artifact.op_counts.values())) if cell.artifact else ""
    error = wording.error_and_bound(cell.checks)
    columns = (cell.model, cell.exporter, wording.opset(cell), wording.status(cell), error, size, operators)
    return f"| {' | '.join(map(escape, columns))} |"


def _issues(cells: Iterable[CellReport]) -> Iterator[str]:
    known = {finding.message: cell.id for cell in cells for finding in cell.findings if finding.kind == "known_issue"}
    if known:
        yield from ("", "## Known issues", "")
    for message, cell in known.items():
        yield f"- {code(cell)}: {escape(message)}"


if __name__ == "__main__":
    sys.stdout.write(render([read(Path(run)) for run in sys.argv[1:]]))
