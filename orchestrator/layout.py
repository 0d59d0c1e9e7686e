"""Where things are in a run folder, and which artifact gets a place there: names, paths and one rule, all of them pure.

Nothing is written here; `folder` does that.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from orchestrator.result import CellResult, CheckStatus, Origin, Status
from orchestrator.spec import Cell, Plan, RunSettings, Unit

PLAN = "plan.json"
LEDGER = "ledger.jsonl"
HYDRA = ".hydra"
REPORT_JSON = "report.json"
REPORT_MARKDOWN = "report.md"
REPORT_HTML = "report.html"
JUNIT = "junit.xml"
METRICS = "metrics.txt"
LATEST = "latest"
"""In the folder of all runs: a link to the newest one that finished."""
ARTIFACTS = "artifacts"
SUMS = "SHA256SUMS"
STATEMENTS = ".intoto.jsonl"
"""Ends the name of a file of statements."""
TEST_DATA = "test_data_set_0"
CELLS = "cells"
VERDICT = "verdict.json"
EXPORT_LOG = "export.log"
REPRO = "repro.py"

RUN_TARGET_CHECKS = frozenset({"parity", "shapes", "extremes", "determinism", "runtime"})
"""Checks whose outcome depends on the target that ran the artifact; a failure of any other condemns it for all targets."""
LONGEST_NAME = 200
"""Characters of a folder's name; file systems take 255 bytes, and temporary names are longer than final ones."""
UNSAFE = re.compile(r"[^A-Za-z0-9._=,+@-]|^\.")


def safe_name(text: str) -> str:
    """A text as one path component: odd characters percent-encoded, a long one cut and told apart by a digest."""
    name = UNSAFE.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), text)
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 13]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def inside(name: str) -> PurePosixPath:
    """A file's name from a worker as a path that cannot leave the folder that it is put into."""
    folder, _, rest = name.partition("/")
    return PurePosixPath(TEST_DATA, safe_name(rest)) if folder == TEST_DATA else PurePosixPath(safe_name(name))


def cell_folder(cell: str) -> PurePosixPath:
    """Where a cell's verdict, log and repro are, whatever its outcome; relative to the run folder, like all paths here."""
    return PurePosixPath(CELLS, safe_name(cell))


def graph_path(unit: Unit, cell: Cell) -> PurePosixPath:
    """Where a cell's graph is delivered, with weights, test data and checksums beside it; one path for all targets."""
    model = ",".join([unit.model.name, *(f"{key}={value}" for key, value in cell.swept)])
    name = safe_name(f"{unit.exporter.name}-opset{cell.opset}")
    return PurePosixPath(ARTIFACTS, safe_name(model), safe_name(unit.dtype), f"{name}.onnx")


def graph_paths(plan: Plan) -> dict[str, PurePosixPath]:
    """Of every cell of a plan, by its identifier."""
    return {cell.id: graph_path(unit, cell) for unit in plan.units for cell in unit.cells}


def statement_path(graph: PurePosixPath) -> PurePosixPath:
    """Where the in-toto statements on a delivered graph are, by the naming convention of in-toto's bundles."""
    return graph.with_name(f"{graph.name}{STATEMENTS}")


def withheld_path(result: CellResult) -> PurePosixPath:
    """Where the graph of a cell that did not pass is kept, with its weights beside it."""
    name = "unverified.onnx" if result.status is Status.UNVERIFIED else "rejected.onnx"
    return cell_folder(result.cell) / name


def delivers(settings: RunSettings, result: CellResult) -> bool:
    """Whether a cell's artifact goes into the run folder."""
    return settings.deliver == "all" or (settings.deliver == "changed" and result.origin is not Origin.CACHE)


def shows(settings: RunSettings, origin: Origin) -> bool:
    """Whether a cell has a folder of its own in the run folder: what the cache knew has one where it was done."""
    return origin is not Origin.CACHE or settings.deliver == "all"


@dataclass(frozen=True, slots=True)
class Vote:
    """What the cell of one target says about the graph that it shares with the cells of other targets."""

    graph: str
    """SHA-256 in hex."""
    passed: bool
    objects: bool
    """It failed a check that does not depend on the target."""


def vote(result: CellResult) -> Vote | None:
    """A cell's say on its graph; None if it has none."""
    if result.artifact is None:
        return None
    failed = {check.id for check in result.checks if check.status in (CheckStatus.FAILED, CheckStatus.ERROR)}
    return Vote(result.artifact.files[0].sha256, result.status is Status.PASSED, bool(failed - RUN_TARGET_CHECKS))


def elected(votes: Iterable[Vote]) -> str | None:
    """Which graph is delivered under a path: the first that passed on some target, unless the cell of another objects to it."""
    votes = list(votes)
    first = next((vote.graph for vote in votes if vote.passed), None)
    return None if any(vote.objects and vote.graph == first for vote in votes) else first
