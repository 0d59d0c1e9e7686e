"""The verb show: a run, or a cell of it with its history. Changes nothing of the run."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from orchestrator import runs
from orchestrator.commands.parser import add_json, add_runs, as_json, parser_of
from orchestrator.errors import EXIT_PASSED, UserError
from orchestrator.history import index
from orchestrator.history.followed import Night, follow
from orchestrator.report import json, over_runs, terminal
from orchestrator.report.summary import CellReport, Report
from orchestrator.spec import RunSpec

DESCRIPTION = """\
Shows the end of a run again, or all that is known of one of its cells: checks, artifact, times, why it was exported, and how
it did in the runs before, each compared with the one before it. Reads plan and ledger, and changes nothing of the
run."""
EPILOG = """\
examples:
  python -m orchestrator show
  python -m orchestrator show latest resnet50-dynamo-opset20-float32-cpu
  python -m orchestrator show resnet50-dynamo-opset20-float32-cpu
  python -m orchestrator show runs/20261124T092728Z-3e6c34 --json

Exit codes: 0 shown, however the run ended; 2 there is no such run or cell; 3 it is no run, or its plan or ledger is damaged."""


def main(typed: Sequence[str], read: Callable[[Sequence[str]], RunSpec]) -> int:  # noqa: ARG001
    """Does what the command line after `show` says.

    Args:
        typed: The words after the verb.
        read: Not used: there is nothing to configure.

    Returns:
        0.

    Raises:
        UserError: There is no such run, or no such cell in it.
        EnvironmentRefusedError: It is no run, or it is damaged.
    """
    arguments = _parser().parse_args(typed)
    if arguments.last < 1:
        raise UserError(f"--last {arguments.last}: at least one run")
    folder, name = _meant(arguments.words, arguments.runs)
    report = index.report_of(folder)
    if name is None:
        _show_run(report, folder, for_script=arguments.json)
        return EXIT_PASSED
    cell = _cell(report, name, folder)
    with index.opened(folder.parent) as history:
        nights = follow(history, cell.id, arguments.last)
    shown = as_json(cell=cell, history=nights) if arguments.json else "".join(_lines(report, cell, folder, nights))
    sys.stdout.write(shown)
    return EXIT_PASSED


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("show", DESCRIPTION, EPILOG)
    parser.usage = "python -m orchestrator show [RUN] [CELL] [--last N] [--runs DIR] [--json]"
    parser.add_argument(
        "words", metavar="RUN CELL", nargs="*", help="a run folder or its name, else the newest; the identifier of a cell"
    )
    parser.add_argument("--last", type=int, default=20, metavar="N", help="runs of a cell's history at most (20)")
    add_runs(parser)
    add_json(parser)
    return parser


def _meant(words: Sequence[str], folder: Path) -> tuple[Path, str | None]:
    """The run folder, and the cell; a single word that names no folder is a cell of the newest run."""
    match words:
        case []:
            return runs.find(None, folder), None
        case [word] if (folder / word).is_dir() or Path(word).is_dir() or runs.RUN_ID.fullmatch(word) or "/" in word:
            return runs.find(word, folder), None
        case [word]:
            return runs.find(None, folder), word
        case [run, cell]:
            return runs.find(run, folder), cell
        case _:
            raise UserError(f"{' '.join(words)}: show takes a run and a cell, nothing more")


def _show_run(report: Report, folder: Path, *, for_script: bool) -> None:
    if for_script:
        sys.stdout.write(json.render(report).decode())
    else:
        terminal.show(report, folder, terminal.open_console())


def _cell(report: Report, name: str, folder: Path) -> CellReport:
    cells = {cell.id: cell for cell in report.cells}
    if name not in cells:
        near = " or ".join(difflib.get_close_matches(name, cells)) or next(iter(cells))
        raise UserError(f"{name}: there is no such cell in {folder.name}, nor a run of that name; did you mean {near}?")
    return cells[name]


def _lines(report: Report, cell: CellReport, folder: Path, nights: Sequence[Night]) -> Iterator[str]:
    yield from (f"{line}\n" for line in over_runs.cell(report.run, cell, terminal.shown(folder)))
    yield "\n"
    yield from (f"{line}\n" for line in over_runs.nights(nights))
