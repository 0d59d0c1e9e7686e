"""Delivers finished cells from the store into a run folder: what happened to each, and the artifacts that passed.

The driver is the only writer. Everything written here can be written again from plan, ledger and store, so nothing is synced.
"""

from __future__ import annotations

import contextlib
import stat
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

import msgspec

from orchestrator import layout
from orchestrator.digest import digest_of
from orchestrator.errors import StorageError
from orchestrator.report import repro
from orchestrator.result import SCHEMA_VERSION, Artifact, CellResult, FileRef, Status
from orchestrator.spec import Cell, Plan, Unit
from orchestrator.store.blobs import BlobStore
from orchestrator.store.disk import left_behind, refusals, replace


class Delivery:
    """The cells and artifacts of one run folder."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self._path = path
        self._plan = plan
        self._store = BlobStore(Path(plan.settings.store))
        self._planned = plan.placed
        self._votes: dict[PurePosixPath, list[layout.Vote]] = defaultdict(list)

    def publish(self, result: CellResult) -> None:
        """Deliver a finished cell; the same one again changes nothing.

        Raises:
            StorageError: a blob is missing or damaged, or the disk refused. The artifact is then not delivered.
        """
        for step in self._steps(result):
            with refusals(self._path):
                step()

    def start_over(self) -> None:
        """Take nothing that is in the folder for delivered; what has the right bytes stays where it is, what is half goes."""
        with refusals(self._path):
            for folder in {path.parent for path in layout.graph_paths(self._plan).values()}:
                (self._path / folder / layout.SUMS).unlink(missing_ok=True)
            for temporary in [*left_behind(self._path)]:
                temporary.unlink()

    def restore(self, result: CellResult) -> list[StorageError]:
        """Deliver a cell of an earlier run again, as much of it as there is.

        Returns:
            What the store has lost or damaged of it.

        Raises:
            StorageError: the disk refused.
        """
        lost = []
        for step in self._steps(result):
            try:
                with refusals(self._path):
                    step()
            except StorageError as error:
                if not error.is_loss:
                    raise
                lost.append(error)
        return lost

    def remove_graphs_but(self, delivered: Collection[PurePosixPath]) -> None:
        """Remove graphs that the run did not deliver; it may have been killed before it could take them back."""
        for path in {*layout.graph_paths(self._plan).values()} - {*delivered}:
            with refusals(self._path / path):
                (self._path / path).unlink(missing_ok=True)

    def _steps(self, result: CellResult) -> Iterator[Callable[[], object]]:
        """What is to be done for a cell; each step can be done whether or not the one before succeeded."""
        unit, cell = self._planned[result.cell]
        if layout.shows(self._plan.settings, result.origin):
            folder = self._path / layout.cell_folder(cell.id)
            yield partial(self._write_cell, folder, unit, cell, result)
            yield from (partial(self._place, file, folder / name) for name, file in kept_files(result).items())
        if layout.delivers(self._plan.settings, result):
            yield partial(self._place_artifact, unit, cell, result)

    def _write_cell(self, folder: Path, unit: Unit, cell: Cell, result: CellResult) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in told_files(unit, cell, result).items():
            replace(folder / name, data)

    def _place_artifact(self, unit: Unit, cell: Cell, result: CellResult) -> None:
        path = layout.graph_path(unit, cell)
        vote = layout.vote(result)
        if vote is None or result.artifact is None:
            return
        votes = [*self._votes[path], vote]
        graph = layout.elected(votes)
        if graph is None:
            self._withdraw(path)
        elif vote.passed and vote.graph == graph:
            self._deliver(path, delivered_files(unit, cell, result))
        # Counted only now: a cell whose artifact could not be delivered has no say.
        self._votes[path] = votes

    def _deliver(self, path: PurePosixPath, wanted: Mapping[str, FileRef]) -> None:
        folder = self._path / path.parent
        (folder / layout.TEST_DATA).mkdir(parents=True, exist_ok=True)
        sums = read_sums(folder)
        with contextlib.ExitStack() as undo:
            for name, file in wanted.items():
                # Shared by several artifacts: weights have their digest as name, test data is made once per model and dtype.
                if name not in sums:
                    if self._place(file, folder / name):
                        undo.callback((folder / name).unlink)
                    sums[name] = file.sha256
            replace(folder / layout.SUMS, sums_text(sums))
            undo.pop_all()

    def _withdraw(self, path: PurePosixPath) -> None:
        folder = self._path / path.parent
        sums = read_sums(folder)
        if sums.pop(path.name, None):
            (folder / path.name).unlink()
            replace(folder / layout.SUMS, sums_text(sums))

    def _place(self, file: FileRef, path: Path) -> bool:
        """Copy a file out of the store unless it is there, as a file of its own; whether it was copied."""
        if is_own_file(path) and digest_of(path) == file.sha256:
            return False
        self._store.get(file.sha256, path)
        return True


def kept_files(result: CellResult) -> dict[str, FileRef]:
    """What of a cell is copied from the store into its folder, by name: its log, and the artifact that did not pass."""
    files = {str(layout.inside(file.name)): file for file in result.attachments if not _is_test_data(file)}
    if result.artifact and result.status is not Status.PASSED:
        files |= _files(result.artifact, layout.withheld_path(result).name)
    return files


def told_files(unit: Unit, cell: Cell, result: CellResult) -> dict[str, bytes]:
    """What is written into a cell's folder, by name: the script that repeats the export, and what happened."""
    verdict = {"schema_version": SCHEMA_VERSION, **msgspec.to_builtins(result)}
    return {
        layout.REPRO: repro.render(unit, cell).encode(),
        layout.VERDICT: msgspec.json.format(msgspec.json.encode(verdict)) + b"\n",
    }


def delivered_files(unit: Unit, cell: Cell, result: CellResult) -> dict[str, FileRef]:
    """What of a cell that passed is delivered if its graph is elected, by name in the folder of the artifact."""
    assert result.artifact, "it passed"
    test_data = {str(layout.inside(file.name)): file for file in result.attachments if _is_test_data(file)}
    return test_data | _files(result.artifact, layout.graph_path(unit, cell).name)


def checksums(plan: Plan, results: Iterable[CellResult]) -> dict[PurePosixPath, dict[str, str]]:
    """What the folders of delivered artifacts hold beside checksums and statements: by folder and name the SHA-256.

    Args:
        plan: Of the run.
        results: In the order in which they were delivered.
    """
    planned, graphs = plan.placed, layout.graph_paths(plan)
    votes: dict[PurePosixPath, list[layout.Vote]] = defaultdict(list)
    sums: dict[PurePosixPath, dict[str, str]] = {}
    for result in results:
        vote = layout.vote(result)
        if vote is None or not layout.delivers(plan.settings, result):
            continue
        path = graphs[result.cell]
        votes[path].append(vote)
        graph = layout.elected(votes[path])
        if graph is None and path.parent in sums:
            sums[path.parent].pop(path.name, None)
        elif vote.passed and vote.graph == graph:
            files = {name: file.sha256 for name, file in delivered_files(*planned[result.cell], result).items()}
            sums[path.parent] = files | sums.get(path.parent, {})
    return sums


def sums_text(sums: Mapping[str, str]) -> bytes:
    """The file of a folder's checksums, as `sha256sum -c` reads it."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()


def read_sums(folder: Path) -> dict[str, str]:
    """What the file of a folder's checksums says, by name; nothing if there is none."""
    try:
        lines = (folder / layout.SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def is_own_file(path: Path) -> bool:
    """Whether there is a regular file whose bytes no other name shares."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _is_test_data(file: FileRef) -> bool:
    return file.name.startswith(f"{layout.TEST_DATA}/")


def _files(artifact: Artifact, graph_name: str) -> dict[str, FileRef]:
    """The files by the names that they get; external data first, so that a graph that is there can be loaded."""
    graph, *data = artifact.files
    return {str(layout.inside(file.name)): file for file in data} | {graph_name: graph}
