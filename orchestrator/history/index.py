"""The index over all runs of a folder: an SQLite file beside them that is derived from their plans and ledgers alone.

It is brought up to date whenever it is opened, and made anew if it is damaged or of another version of us. A run that cannot
be read is in it with the reason. What is not kept: logs and artifacts, which are in the run folders and the store.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from orchestrator import layout
from orchestrator.errors import OrchestratorError
from orchestrator.folder import read_run
from orchestrator.report.summary import CellReport, Report, RunReport, outcomes, summarise, unexpected
from orchestrator.result import FileRef, Status
from orchestrator.runs import newest_first

NAME = ".history.sqlite"
"""In the folder of all runs."""
WAIT_SECONDS = 30.0
"""For another process that writes the index."""
TABLES = (
    "CREATE TABLE runs (id TEXT PRIMARY KEY, stamp TEXT NOT NULL, entry BLOB NOT NULL)",
    "CREATE TABLE cells (run TEXT NOT NULL, cell TEXT NOT NULL, fact INTEGER NOT NULL, PRIMARY KEY (run, cell)) WITHOUT ROWID",
    "CREATE INDEX cells_by_name ON cells (cell, run)",
    "CREATE TABLE facts (id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, data BLOB NOT NULL)",
)
"""Facts are what reports say of a cell, each once: in a night in which nothing changed all cells say what they said before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEntry:
    """A run as a whole."""

    id: str
    """Name of its folder."""
    report: RunReport | None = None
    """None if it cannot be read."""
    counts: Mapping[Status, int] | None = None
    """Cells per status, zeros included."""
    unexpected: int = 0
    """Cells that did not end as expected."""
    problem: str | None = None
    """Why it cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellEntry:
    """A cell of a run."""

    report: CellReport
    files: tuple[FileRef, ...] = ()
    """Of its artifact."""


class History:
    """An index that is open and up to date."""

    def __init__(self, connection: sqlite3.Connection, runs: Path) -> None:
        self._connection = connection
        self.folder = runs
        """Of all runs."""
        self._facts: dict[int, CellEntry] = {}
        """Those that were asked for: quiet nights share them."""

    def runs(self) -> list[RunEntry]:
        """All runs, the newest first."""
        rows = self._connection.execute("SELECT entry FROM runs ORDER BY id DESC")
        return [msgspec.json.decode(data, type=RunEntry) for (data,) in rows]

    def cells(self, run: str) -> dict[str, CellEntry]:
        """All cells of a run, by identifier; none if it cannot be read."""
        entries = self._connection.execute("SELECT cell, fact FROM cells WHERE run = ?", (run,)).fetchall()
        return {cell: self._entry(fact) for cell, fact in entries}

    def of_cell(self, cell: str) -> Iterator[tuple[str, CellEntry]]:
        """A cell in each run that planned it, with the run's identifier, the newest first."""
        query = "SELECT run, fact FROM cells WHERE cell = ? ORDER BY run DESC"
        yield from ((run, self._entry(fact)) for run, fact in self._connection.execute(query, (cell,)))

    def refresh(self) -> None:
        """Read the runs that are new or have changed, and forget those whose folders are gone."""
        known = dict(self._connection.execute("SELECT id, stamp FROM runs"))
        folders = {folder.name: folder for folder in newest_first(self.folder)}
        stamps = {run: _stamp(folder) for run, folder in folders.items()}
        with self._connection:
            if stale := [run for run, stamp in known.items() if stamps.get(run) != stamp]:
                self._forget(stale)
            for run in stamps.keys() - (known.keys() - {*stale}):
                self._add(folders[run], stamps[run])

    def _entry(self, fact: int) -> CellEntry:
        if fact not in self._facts:
            (data,) = self._connection.execute("SELECT data FROM facts WHERE id = ?", (fact,)).fetchone()
            self._facts[fact] = msgspec.json.decode(zlib.decompress(data), type=CellEntry)
        return self._facts[fact]

    def _forget(self, runs: Iterable[str]) -> None:
        for run in runs:
            self._connection.execute("DELETE FROM cells WHERE run = ?", (run,))
            self._connection.execute("DELETE FROM runs WHERE id = ?", (run,))
        self._connection.execute("DELETE FROM facts WHERE id NOT IN (SELECT fact FROM cells)")

    def _add(self, folder: Path, stamp: str) -> None:
        entry, cells = _read(folder)
        self._connection.execute("INSERT INTO runs VALUES (?, ?, ?)", (folder.name, stamp, msgspec.json.encode(entry)))
        rows = [(folder.name, cell.report.id, self._fact(cell)) for cell in cells]
        self._connection.executemany("INSERT INTO cells VALUES (?, ?, ?)", rows)

    def _fact(self, cell: CellEntry) -> int:
        data = msgspec.json.encode(cell)
        digest = hashlib.sha256(data).digest()
        values = (digest, zlib.compress(data))
        self._connection.execute("INSERT INTO facts (sha256, data) VALUES (?, ?) ON CONFLICT DO NOTHING", values)
        (number,) = self._connection.execute("SELECT id FROM facts WHERE sha256 = ?", (digest,)).fetchone()
        return int(number)


@contextmanager
def opened(runs: Path) -> Iterator[History]:
    """The index of a folder of runs, up to date; where it cannot be kept it is made in memory, for this once.

    Args:
        runs: The folder; it may be missing, then there is no run.
    """
    with closing(_connect(runs)) as connection:
        yield History(connection, runs)


def report_of(folder: Path) -> Report:
    """The report of a run from its plan and its ledger, which are newer than whatever is derived from them.

    Raises:
        EnvironmentRefusedError: it is no run, never started, or its plan or ledger is damaged.
    """
    return summarise(*read_run(folder))


def _connect(runs: Path) -> sqlite3.Connection:
    path = runs / NAME
    try:
        return _prepared(str(path), runs)
    except sqlite3.OperationalError:
        # The folder is missing, read-only or full, or someone else has held the index for long.
        return _prepared(":memory:", runs)
    except sqlite3.DatabaseError:
        path.unlink(missing_ok=True)
        return _prepared(str(path), runs)


def _prepared(name: str, runs: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(name, timeout=WAIT_SECONDS)
    try:
        # What a power cut costs can be derived again.
        connection.execute("PRAGMA synchronous = OFF")
        if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
            _make(connection)
        History(connection, runs).refresh()
    except BaseException:
        connection.close()
        raise
    return connection


def _make(connection: sqlite3.Connection) -> None:
    """Make the tables, unless another process just did."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        if connection.execute("PRAGMA user_version").fetchone() == (VERSION,):
            return
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            connection.execute(f'DROP TABLE "{table}"')
        for statement in (*TABLES, f"PRAGMA user_version = {VERSION}"):
            connection.execute(statement)


def _read(folder: Path) -> tuple[RunEntry, list[CellEntry]]:
    try:
        plan, records = read_run(folder)
        report, results = summarise(plan, records), outcomes(records)
    except (OSError, OrchestratorError) as error:
        return RunEntry(id=folder.name, problem=str(error)), []
    except (KeyError, StopIteration):
        return RunEntry(id=folder.name, problem=f"{folder}: its ledger belongs to another plan, or lacks its beginning."), []
    files = {name: result.artifact.files for name, result in results.items() if result.artifact}
    cells = [CellEntry(report=cell, files=files.get(cell.id, ())) for cell in report.cells]
    entry = RunEntry(id=folder.name, report=report.run, counts=report.counts, unexpected=len(unexpected(report)))
    return entry, cells


def _stamp(folder: Path) -> str:
    """Changes when the plan or the ledger does."""
    return " ".join(_state(folder / name) for name in (layout.PLAN, layout.LEDGER))


def _state(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        return type(error).__name__
    return f"{status.st_size}:{status.st_mtime_ns}"


def _version() -> int:
    """Of the index: another one as soon as anything that it keeps has another shape; positive, and of 31 bits for SQLite."""
    shape = msgspec.json.encode([TABLES, msgspec.json.schema(CellEntry), msgspec.json.schema(RunEntry)])
    return zlib.crc32(shape) >> 1 or 1


VERSION = _version()
