"""The verb verify: judges ONNX files that something else made, or the artifacts of an earlier run. Writes nothing.

What is judged and how is `judge`'s business; each file is read and run in a process that may crash.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator import layout, provenance
from orchestrator.commands.parser import parser_of
from orchestrator.errors import EXIT_PASSED, EXIT_UNEXPECTED, EnvironmentRefusedError, UserError
from orchestrator.folder import read_plan
from orchestrator.names import suggestion
from orchestrator.plan import plan as make_plan
from orchestrator.plan import share_cores
from orchestrator.report import judgement
from orchestrator.report.summary import CellReport
from orchestrator.result import CellFinished
from orchestrator.schedulers import base as schedulers
from orchestrator.schedulers.base import Program
from orchestrator.spec import Cell, ClusterSpec, GivenArtifact, ModelSpec, Plan, RunSpec, Unit, UnitTask, VerifyLevel

PROGRAM = Program(function="orchestrator.judge:run", preload=("orchestrator.preload",))
NAME_IN_IDENTIFIERS = "file"
"""Stands for the exporter where it is not known."""

DESCRIPTION = """\
Judges an ONNX file that something else made against a model, or each artifact of an earlier run folder again.
The same checks as after an export, on the file where it lies; nothing is written."""
EPILOG = """\
examples:
  python -m orchestrator verify model.onnx +model=resnet50
  python -m orchestrator verify model.onnx +model=resnet50 opset=17 verify=strict --json
  python -m orchestrator verify model.onnx +model=minilm --map ids=input_ids --map mask=attention_mask
  python -m orchestrator verify runs/latest

The opset is compared only if it is given. Exit codes: 0 passed; 1 some check said no; 2 what was typed is wrong."""


def main(typed: Sequence[str], read: Callable[[Sequence[str]], RunSpec]) -> int:
    """Does what the command line after `verify` says.

    Args:
        typed: The words after the verb.
        read: Turns flags and overrides of Hydra into specs.

    Returns:
        0 if every artifact passed, else 1.

    Raises:
        UserError: There is nothing to judge, or nothing to judge it against.
        EnvironmentRefusedError: The workers cannot be started.
        InterruptedRunError: Ctrl-C or SIGTERM.
    """
    arguments = _parser().parse_intermixed_args(typed)
    path = _existing(arguments.path)
    order = _of_folder(path, arguments) if path.is_dir() else _of_file(path, arguments, read)
    rows = []
    for row, shown in _judged(order):
        rows.append(row)
        if not arguments.json:
            sys.stdout.writelines(f"{line}\n" for line in judgement.lines(row, shown))
            sys.stdout.flush()
    if arguments.json:
        sys.stdout.write(judgement.as_json(rows if path.is_dir() else rows[0]).decode())
    return EXIT_PASSED if all(row.expected for row in rows) else EXIT_UNEXPECTED


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What is to be judged."""

    units: Sequence[Unit]
    given: Mapping[str, GivenArtifact]
    """By cell."""
    shown: Mapping[str, str]
    """By cell, the path of its graph as the user knows it."""
    cluster: ClusterSpec
    trust: tuple[str, ...]


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("verify", DESCRIPTION, EPILOG)
    parser.add_argument("path", metavar="FILE", help="an ONNX file, or the folder of a run or its artifacts; comes first")
    parser.add_argument("overrides", metavar="+model=NAME key=value", nargs="*", help="as in a run; for a FILE only")
    parser.add_argument("--json", action="store_true", help="print a cell as in report.json; for a folder an array of them")
    parser.add_argument(
        "--map", action="append", default=[], metavar="THEIRS=OURS", help="a name in the file and its declared one"
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PATTERN", help="for a folder: what its models may call"
    )
    parser.add_argument("--config-dir", metavar="DIR", help="a folder with configs of your own")
    parser.add_argument("--config-name", metavar="NAME", help="a primary config of your own")
    return parser


def _existing(typed: str) -> Path:
    try:
        typed.encode()
        path = Path(typed).resolve(strict=True)
    except UnicodeEncodeError as error:
        raise UserError(f"{typed.encode(errors='backslashreplace').decode()}: the name is not UTF-8; rename it") from error
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{typed}: cannot be read: {reason}; the file or folder to judge comes first") from error
    if not path.is_dir() and not path.is_file():
        raise UserError(f"{typed}: is neither a regular file nor a folder")
    if not os.access(path, os.R_OK):
        raise UserError(f"{typed}: may not be read")
    return path


# A file against the model that is named


def _of_file(path: Path, arguments: argparse.Namespace, read: Callable[[Sequence[str]], RunSpec]) -> _Order:
    if arguments.trust:
        raise UserError("--trust: is for a folder; with a file write trust=[PATTERN]")
    flags = [
        f"--{name}={value}" for name in ("config-dir", "config-name") if (value := getattr(arguments, name.replace("-", "_")))
    ]
    plan = share_cores(make_plan(read([*flags, *arguments.overrides]), provenance.local_devices()), os.cpu_count() or 1)
    unit, cell = _unit(plan, {override.lstrip("+").partition("=")[0] for override in arguments.overrides})
    names = _names(arguments.map, unit.model)
    compare = any(override.lstrip("+").startswith("opset=") for override in arguments.overrides)
    return _Order(
        units=[unit],
        given={cell.id: GivenArtifact(graph=str(path), names=names, compare_opset=compare)},
        shown={cell.id: arguments.path},
        cluster=plan.settings.cluster,
        trust=plan.settings.trust,
    )


def _unit(plan: Plan, typed: set[str]) -> tuple[Unit, Cell]:
    """The one cell that the command line describes, named after what is known of the file."""
    if len(plan.cells) != 1:
        raise UserError(f"verify judges a file against one model, dtype and target; {len(plan.cells)} cells are asked for")
    (unit,), (cell,) = plan.units, plan.cells
    if cell.skip is not None:
        raise UserError(f"target={cell.target.name}: {cell.skip}")
    if unit.verify.level is VerifyLevel.OFF:
        raise UserError("verify=off: asks for nothing to be judged; choose quick, standard or strict")
    exporter = unit.exporter.name if "exporter" in typed else NAME_IN_IDENTIFIERS
    opset = (f"opset{cell.opset}",) if "opset" in typed else ()
    cell = replace(cell, id="-".join((unit.model.name, exporter, *opset, unit.dtype, cell.target.name)))
    return replace(unit, id=cell.id, exporter=replace(unit.exporter, name=exporter), cells=(cell,)), cell


def _names(pairs: Sequence[str], model: ModelSpec) -> dict[str, str]:
    """Their names → ours."""
    declared = [*(spec.name for spec in model.inputs), *(output.name for output in model.outputs)]
    names: dict[str, str] = {}
    for pair in pairs:
        theirs, _, ours = pair.rpartition("=")
        if not theirs:
            raise UserError(f"--map {pair}: write --map THEIRS=OURS, the name in the file first")
        # Names that only the built model tells cannot be judged here; a wrong one fails the check of the interface.
        if ours not in declared and model.outputs and model.inputs:
            raise UserError(f"--map {pair}: {model.name} declares no '{ours}'{suggestion(ours, declared)}")
        if theirs in names or ours in names.values():
            raise UserError(f"--map {pair}: each name can be mapped once")
        names[theirs] = ours
    return names


# The artifacts of a run against what its plan says


def _of_folder(path: Path, arguments: argparse.Namespace) -> _Order:
    without_effect = [*arguments.overrides, *(f"--map {pair}" for pair in arguments.map)]
    without_effect += [
        flag for flag, value in (("--config-dir", arguments.config_dir), ("--config-name", arguments.config_name)) if value
    ]
    if without_effect:
        raise UserError(f"{', '.join(without_effect)}: no effect on a folder, whose {layout.PLAN} says what to judge against")
    root = path.parent if path.name == layout.ARTIFACTS else path
    plan = _plan(root, arguments.path)
    check_trust(plan, arguments.trust)
    found = {cell: graph for cell, path in layout.graph_paths(plan).items() if (graph := root / path).is_file()}
    _check_artifacts(root, found, arguments.path)
    present = [replace(unit, cells=tuple(cell for cell in unit.cells if cell.id in found)) for unit in plan.units]
    units = [unit for unit in present if any(cell.skip is None for cell in unit.cells)]
    workers = min(len(units), os.cpu_count() or 1)
    return _Order(
        units=units,
        given={cell: GivenArtifact(graph=str(graph)) for cell, graph in found.items()},
        shown={cell: str(graph.relative_to(root)) for cell, graph in found.items()},
        cluster=ClusterSpec(kind="local", workers=workers, threads_per_worker=max(1, plan.settings.cluster.threads_per_worker)),
        trust=tuple(arguments.trust),
    )


def _plan(root: Path, typed: str) -> Plan:
    try:
        return read_plan(root)
    except (EnvironmentRefusedError, RecursionError, OSError) as error:
        if not (root / layout.PLAN).is_file():
            what = "is no run folder: it has no plan.json; to judge a file name it: verify FILE.onnx +model=NAME"
            raise UserError(f"{typed}: {what}") from error
        raise UserError(f"{typed}: {error}") from error


def check_trust(plan: Plan, typed: Sequence[str]) -> None:
    """A folder may come from anywhere, so that its plan cannot say what may be called."""
    if missing := sorted({*plan.settings.trust} - {*typed}):
        flags = " ".join(f"--trust '{pattern}'" for pattern in missing)
        raise UserError(f"the run trusted more than the built-in list; if you do too, say so again: {flags}")


def _check_artifacts(root: Path, found: Mapping[str, Path], typed: str) -> None:
    planned = {*found.values()}
    strangers = sorted(path for path in (root / layout.ARTIFACTS).rglob("*.onnx") if path not in planned)
    if strangers:
        advice = f"belongs to no cell of {layout.PLAN}; judge it with verify FILE.onnx +model=NAME, or move it away"
        raise UserError(*(f"{path.relative_to(root)}: {advice}" for path in strangers))
    if not found:
        raise UserError(f"{typed}: holds no artifact; the run delivered none, or they were moved")


# Judging


def _judged(order: _Order) -> Iterator[tuple[CellReport, str]]:
    """Each artifact's report and path, as they come."""
    places = {cell.id: (unit, cell) for unit in order.units for cell in unit.cells}
    # Logs of the workers go there, and with it.
    with tempfile.TemporaryDirectory(prefix="verify-", ignore_cleanup_errors=True) as store:
        tasks = [_task(order, unit, store) for unit in order.units]
        with closing(schedulers.load(order.cluster.kind)(tasks, order.cluster, PROGRAM)) as events:
            for event in events:
                if isinstance(event, CellFinished):
                    unit, cell = places[event.result.cell]
                    shown = order.shown[cell.id]
                    yield judgement.row(unit, cell, event.result, order.given[cell.id], shown), shown


def _task(order: _Order, unit: Unit, store: str) -> UnitTask:
    given = {cell.id: order.given[cell.id] for cell in unit.cells}
    threads = order.cluster.threads_per_worker
    return UnitTask(unit=unit, store=store, trust=order.trust, threads=threads, given=given)
