"""Compares a run folder with what its plan and its ledger say that it holds, byte by byte. Changes nothing.

What else lies beside the reports is not looked at, nor is the store, of which `store.audit` takes care.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from orchestrator import layout
from orchestrator.deliver import checksums, is_own_file, kept_files, read_sums, sums_text, told_files
from orchestrator.digest import digest_of
from orchestrator.errors import EnvironmentRefusedError
from orchestrator.folder import read_plan, reports
from orchestrator.report.summary import outcomes, summarise
from orchestrator.spec import Plan
from orchestrator.statement import statements
from orchestrator.store import ledger
from orchestrator.store.audit import Problem, Tally
from orchestrator.store.ledger import Record

REBUILD = "python -m orchestrator report RUN writes it again"
RESTORE = "restore it from a copy, or run again; nothing can be rebuilt without it"
MOVE = "it is not of this run: move it away, or keep it if it is yours"
OURS = (layout.ARTIFACTS, layout.CELLS)
"""Folders in which everything is ours."""


def audit_run(path: Path, tally: Tally) -> Iterator[Problem]:
    """Compare a run folder with its plan and its ledger; if these are damaged, artifacts with their checksums.

    Args:
        path: The run folder.
        tally: Is added to.

    Raises:
        EnvironmentRefusedError: It is no run folder, or the run is going on.
    """
    if not any((path / name).is_file() for name in (layout.PLAN, layout.LEDGER)):
        raise EnvironmentRefusedError(f"{path} is no run folder: it has neither {layout.PLAN} nor {layout.LEDGER}.")
    found = _found(path)
    try:
        wanted = expected(path, *_truth(path))
    except _DamagedError as error:
        yield Problem(kind="damaged", path=error.name, message=str(error), next=RESTORE)
        wanted = _by_checksums(path)
        found = {name for name in found if _is_summed(name)}
    yield from _differences(path, wanted, tally)
    for name in sorted(found - wanted.keys()):
        yield Problem(kind="extra", path=str(name), message="nothing of the run has this name", next=MOVE)


def expected(path: Path, plan: Plan, records: list[Record]) -> dict[PurePosixPath, str]:
    """SHA-256 of everything derived that a run folder holds, by path.

    Args:
        path: The run folder: what logs say stands in the page.
        plan: Of the run.
        records: Its ledger; the first is a RunStarted.
    """
    results = outcomes(records)
    derived = reports(path, plan, summarise(plan, records))
    texts = {PurePosixPath(name): data for name, data in derived.items()} | statements(plan, records)
    digests: dict[PurePosixPath, str] = {}
    for unit in plan.units:
        for cell in unit.cells:
            result = results.get(cell.id)
            if result and layout.shows(plan.settings, result.origin):
                folder = layout.cell_folder(cell.id)
                texts |= {folder / name: data for name, data in told_files(unit, cell, result).items()}
                digests |= {folder / name: file.sha256 for name, file in kept_files(result).items()}
    for folder, sums in checksums(plan, results.values()).items():
        texts[folder / layout.SUMS] = sums_text(sums)
        digests |= {folder / name: digest for name, digest in sums.items()}
    return digests | {name: hashlib.sha256(data).hexdigest() for name, data in texts.items()}


class _DamagedError(Exception):
    """Plan or ledger cannot be read."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def _truth(path: Path) -> tuple[Plan, list[Record]]:
    """Plan and ledger, which nobody is writing."""
    if (path / layout.LEDGER).is_file():
        with ledger.writers_kept_away(path / layout.LEDGER):
            pass
    try:
        plan = read_plan(path)
    except EnvironmentRefusedError as error:
        raise _DamagedError(layout.PLAN, str(error)) from error
    try:
        records = ledger.read(path / layout.LEDGER)
    except EnvironmentRefusedError as error:
        raise _DamagedError(layout.LEDGER, str(error)) from error
    if not records:
        raise _DamagedError(layout.LEDGER, "it is empty: the run never started")
    return plan, records


def _by_checksums(path: Path) -> dict[PurePosixPath, str]:
    """What the artifacts' own checksums say; a name that leads out of the folder is none of them."""
    folders = [Path(folder) for folder, _, files in os.walk(path / layout.ARTIFACTS) if layout.SUMS in files]
    return {
        PurePosixPath(folder.relative_to(path)) / name: digest
        for folder in folders
        for name, digest in read_sums(folder).items()
        if name and layout.inside(name) == PurePosixPath(name)
    }


def _differences(path: Path, wanted: Mapping[PurePosixPath, str], tally: Tally) -> Iterator[Problem]:
    for name, digest in sorted(wanted.items()):
        problem = _difference(path, name, digest)
        if problem:
            yield problem
        else:
            tally.files += 1
            tally.bytes += (path / name).stat().st_size


def _difference(path: Path, name: PurePosixPath, digest: str) -> Problem | None:
    try:
        if _leads_elsewhere(path, name):
            return Problem(kind="linked", path=str(name), message="is a link, or shares its bytes with one", next=REBUILD)
        if not (path / name).is_file():
            return Problem(kind="missing", path=str(name), message="is not there", next=REBUILD)
        if digest_of(path / name) != digest:
            return Problem(kind="changed", path=str(name), message="has other bytes than the run says", next=REBUILD)
    except OSError as error:
        return Problem(kind="unreadable", path=str(name), message=f"cannot be read: {error.strerror}", next=REBUILD)
    return None


def _leads_elsewhere(path: Path, name: PurePosixPath) -> bool:
    """Whether it or a folder on the way to it is a link, so that who writes there changes it too."""
    places = [path / name, *(path / parent for parent in name.parents)]
    return any(place.is_symlink() for place in places[:-1]) or ((path / name).is_file() and not is_own_file(path / name))


def _found(path: Path) -> set[PurePosixPath]:
    """What is no folder, below the folders that are ours."""
    return {
        PurePosixPath(Path(folder, name).relative_to(path))
        for top in OURS
        for folder, folders, files in os.walk(path / top)
        for name in [*files, *(name for name in folders if Path(folder, name).is_symlink())]
    }


def _is_summed(name: PurePosixPath) -> bool:
    """Whether it is to be found in a file of checksums."""
    return name.parts[0] == layout.ARTIFACTS and name.name != layout.SUMS and not name.name.endswith(layout.STATEMENTS)
