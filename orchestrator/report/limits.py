"""The page docs/limits.md, made of report.json files: `python -m orchestrator.report.limits RUN [RUN …] > docs/limits.md`.

A cell that is in several runs is taken from the last one. The models are those of `conf/model/limits`; what each is, and how to
write it instead, is in the first lines of its file.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator.report import advice, wording
from orchestrator.report.markdown import escape
from orchestrator.report.summary import CellReport, Report
from orchestrator.report.zoo import MADE_WITH, read
from orchestrator.result import CheckStatus, Status

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "conf" / "model" / "limits"
SOURCE = ROOT / "orchestrator" / "zoo" / "limits.py"
EXPORTERS = ("dynamo", "torchscript", "torchscript_script")
HEAD = """\
# The limits

Small models that are right in eager, and what each exporter makes of them: *right*; *wrong* without a word of its own, with the
checks that said so; or *refused* with an error. Nothing in their configs hints at what is wrong with them. To try one:

    $ python -m orchestrator +model=limits/tensor_if exporter=torchscript

Judged at the standard level. What is wrong here was exported without an error: only a check kept it from being delivered. Shown
of each is the first line that the run printed, and the next step. Made by `python -m orchestrator.report.limits RUN`, which
reads report.json.

A file of `torchscript_script` tells less about where it is wrong: of what torch's own functions are made of (dropout, batch
norm, `//`) the compiled module keeps the line inside torch, not the line of the model that called it. Such a message names the
node alone; the other exporters' messages have the line.
"""


def render(reports: Sequence[Report]) -> str:
    """The page: a table of all models and exporters, and a section for each model with its code and what was said of it."""
    cells = {(cell.model, cell.exporter): cell for report in reports for cell in report.cells}
    models = sorted({model for model, _ in cells})
    versions = {name: version for report in reports for name, version in report.run.versions.items() if name in MADE_WITH}
    made_with = ", ".join(f"{name} {version}" for name, version in versions.items())
    sections = [line for model in models for line in _section(model, cells)]
    return "\n".join([HEAD, *_table(models, cells), *sections, f"Made with {escape(made_with)}."]) + "\n"


def outcome(cell: CellReport) -> str:
    """In a word or two: `right`, `wrong: branches, parity`, `refused`."""
    if cell.status is Status.CHECK_FAILED:
        failed = (check.id for check in cell.checks if check.status in (CheckStatus.FAILED, CheckStatus.ERROR))
        return f"wrong: {', '.join(failed)}"
    return {Status.PASSED: "right", Status.EXPORT_FAILED: "refused"}.get(cell.status, cell.status)


def _table(models: Sequence[str], cells: Mapping[tuple[str, str], CellReport]) -> Iterator[str]:
    yield f"| model | {' | '.join(EXPORTERS)} |"
    yield f"| :-- |{' :-- |' * len(EXPORTERS)}"
    for model in models:
        words = (outcome(cells[model, exporter]) if (model, exporter) in cells else "" for exporter in EXPORTERS)
        yield f"| [{model}](#{model}) | {' | '.join(map(escape, words))} |"
    yield ""


def _section(model: str, cells: Mapping[tuple[str, str], CellReport]) -> Iterator[str]:
    lines = (MODELS / f"{model}.yaml").read_text(encoding="utf-8").splitlines()
    what, instead = (line.removeprefix("# ") for line in lines[:2])
    yield from (f"## {model}", "", what, "")
    yield from (f"    {line}" if line else "" for line in _forward("".join(part.title() for part in model.split("_"))))
    yield from ("", f"Instead: {instead}", "")
    for exporter in EXPORTERS:
        if cell := cells.get((model, exporter)):
            yield from _told(exporter, cell)


def _told(exporter: str, cell: CellReport) -> Iterator[str]:
    yield f"- **{exporter}**: {escape(outcome(cell))}"
    if cell.status is not Status.PASSED:
        yield from ("", *(f"      {wording.visible(problem)}" for problem in wording.problems(cell)[:1]))
        yield from (f"      next   {advice.next_step(cell)}", "")


def _forward(name: str) -> list[str]:
    """The source of a model's forward without its docstring; models are not imported here, because they import torch."""
    source = SOURCE.read_text(encoding="utf-8")
    (found,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == name)
    (forward,) = (node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == "forward")
    lines = source.splitlines()
    end = forward.body[0].end_lineno or forward.lineno
    whole = [*lines[forward.lineno - 1 : forward.body[0].lineno - 1], *lines[end : forward.end_lineno]]
    return [line[4:] for line in whole]


if __name__ == "__main__":
    sys.stdout.write(render([read(Path(run)) for run in sys.argv[1:]]))
