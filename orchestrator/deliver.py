"""Delivers finished cells from the store into a run folder: what happened to each, and the artifacts that passed.

The driver is the only writer. Everything written here can be written again from plan, ledger and store, so nothing is synced.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import msgspec

from orchestrator import layout
from orchestrator.report import repro
from orchestrator.result import SCHEMA_VERSION, Artifact, CellResult, FileRef, Status
from orchestrator.spec import Cell, Plan, Unit
from orchestrator.store.blobs import BlobStore
from orchestrator.store.disk import refusals, replace


class Delivery:
    """The cells and artifacts of one run folder."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self._path = path
        self._store = BlobStore(Path(plan.settings.store))
        self._planned = {cell.id: (unit, cell) for unit in plan.units for cell in unit.cells}
        self._votes: dict[PurePosixPath, list[layout.Vote]] = defaultdict(list)

    def publish(self, result: CellResult) -> None:
        """Deliver a finished cell; the same one again changes nothing.

        Raises:
            StorageError: a blob is missing or damaged, or the disk refused. The artifact is then not delivered.
        """
        unit, cell = self._planned[result.cell]
        with refusals(self._path):
            self._write_cell(unit, cell, result)
            self._place_artifact(layout.graph_path(unit, cell), result)

    def _write_cell(self, unit: Unit, cell: Cell, result: CellResult) -> None:
        folder = self._path / layout.cell_folder(cell.id)
        folder.mkdir(parents=True, exist_ok=True)
        for file in result.attachments:
            if not _is_test_data(file):
                self._store.get(file.sha256, folder / layout.inside(file.name))
        if result.artifact and result.status is not Status.PASSED:
            for name, file in _files(result.artifact, layout.withheld_path(result).name).items():
                self._store.get(file.sha256, folder / name)
        replace(folder / layout.REPRO, repro.render(unit, cell).encode())
        verdict = {"schema_version": SCHEMA_VERSION, **msgspec.to_builtins(result)}
        replace(folder / layout.VERDICT, msgspec.json.format(msgspec.json.encode(verdict)) + b"\n")

    def _place_artifact(self, path: PurePosixPath, result: CellResult) -> None:
        vote = layout.vote(result)
        if vote is None or result.artifact is None:
            return
        votes = [*self._votes[path], vote]
        graph = layout.elected(votes)
        if graph is None:
            self._withdraw(path)
        elif vote.passed and vote.graph == graph:
            self._deliver(path, result.artifact, [file for file in result.attachments if _is_test_data(file)])
        # Counted only now: a cell whose artifact could not be delivered has no say.
        self._votes[path] = votes

    def _deliver(self, path: PurePosixPath, artifact: Artifact, test_data: list[FileRef]) -> None:
        folder = self._path / path.parent
        (folder / layout.TEST_DATA).mkdir(parents=True, exist_ok=True)
        sums = _read_sums(folder)
        wanted = {str(layout.inside(file.name)): file for file in test_data} | _files(artifact, path.name)
        with contextlib.ExitStack() as undo:
            for name, file in wanted.items():
                # Shared by several artifacts: weights have their digest as name, test data is made once per model and dtype.
                if name not in sums:
                    self._store.get(file.sha256, folder / name)
                    undo.callback((folder / name).unlink)
                    sums[name] = file.sha256
            _write_sums(folder, sums)
            undo.pop_all()

    def _withdraw(self, path: PurePosixPath) -> None:
        folder = self._path / path.parent
        sums = _read_sums(folder)
        if sums.pop(path.name, None):
            (folder / path.name).unlink()
            _write_sums(folder, sums)


def _is_test_data(file: FileRef) -> bool:
    return file.name.startswith(f"{layout.TEST_DATA}/")


def _files(artifact: Artifact, graph_name: str) -> dict[str, FileRef]:
    """The files by the names that they get; external data first, so that a graph that is there can be loaded."""
    graph, *data = artifact.files
    return {str(layout.inside(file.name)): file for file in data} | {graph_name: graph}


def _read_sums(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / layout.SUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    replace(folder / layout.SUMS, "".join(lines).encode())
