"""What of a store can go: outcomes that no run refers to and nobody asked for lately, and blobs that nothing refers to.

Dates of files say how long ago something was written or used; correctness never hangs on them, since what went is made anew.
A run that is not among the roots keeps its folder and can no longer be rebuilt.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from orchestrator import layout, runs
from orchestrator.errors import EnvironmentRefusedError, OrchestratorError, StorageError
from orchestrator.result import CellFinished
from orchestrator.store import ledger
from orchestrator.store.disk import BAD, TEMPORARY, refusals

LOCK = "gc.lock"
SAFE_SECONDS = 24 * 3600.0
"""Nothing that was written or used since goes: a unit that is at work has blobs which nothing refers to yet."""
SHA256 = re.compile(rb'"sha256":"([0-9a-f]{64})"')
"""Every reference to a blob, in whatever kind of entry."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A file of the store."""

    path: Path
    bytes: int
    used: float
    """When it was written or used, in seconds since the epoch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Garbage:
    """What can go."""

    entries: tuple[Item, ...]
    """Of the index."""
    blobs: tuple[Item, ...]
    leftovers: tuple[Item, ...]
    """Temporary files of killed writers, and what was set aside as damaged."""
    kept: int
    """Bytes that stay."""

    @property
    def items(self) -> tuple[Item, ...]:
        """All of it, in the order in which it has to go: what refers before what is referred to."""
        return (*self.entries, *self.blobs, *self.leftovers)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """One collection at a time.

    Raises:
        EnvironmentRefusedError: another one is at work, or the folder is no store.
    """
    try:
        descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    except OSError as error:
        raise EnvironmentRefusedError(f"{root}: {error.strerror}; it is no store, or it cannot be written.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise EnvironmentRefusedError(f"{root}: another garbage collection is at work.") from error
    finally:
        os.close(descriptor)


def find(
    root: Path, roots: Collection[Path], now: float, keep: float, limit: int | None = None, pinned: Collection[str] = ()
) -> Garbage:
    """Tell what can go.

    Args:
        root: Of the store.
        roots: Folders of runs; what they refer to stays.
        now: Seconds since the epoch.
        keep: Seconds for which an outcome stays that was not asked for.
        limit: Bytes that blobs are to take at most: then younger outcomes go too, those first that were not asked for longest.
        pinned: Digests of other blobs that stay.
    """
    blobs = {_sha256(item.path): item for item in _items(root / "blobs") if not _set_aside(item)}
    rooted = {*pinned, *(file for folder in roots for file in _referred(folder))}
    needed, held, gone, kept = set(rooted), sum(blobs[file].bytes for file in rooted if file in blobs), [], 0
    for entry in sorted((item for item in _items(root / "index") if not _set_aside(item)), key=lambda item: -item.used):
        files = {*_files(entry.path)} & blobs.keys()
        more = sum(blobs[file].bytes for file in files - needed)
        old = now - entry.used > keep or (limit is not None and held + more > limit and now - entry.used > SAFE_SECONDS)
        if old and not files <= rooted:
            gone.append(entry)
        else:
            needed, held, kept = needed | files, held + more, kept + entry.bytes
    unused = [item for sha256, item in blobs.items() if sha256 not in needed]
    leftovers = [
        *_items(root / "tmp"),
        *(item for part in ("blobs", "index") for item in _items(root / part) if _set_aside(item)),
    ]
    return Garbage(
        entries=tuple(gone),
        blobs=tuple(item for item in unused if now - item.used > SAFE_SECONDS),
        leftovers=tuple(item for item in leftovers if now - item.used > SAFE_SECONDS),
        kept=kept
        + sum(item.bytes for item in blobs.values() if now - item.used <= SAFE_SECONDS or _sha256(item.path) in needed),
    )


def remove(garbage: Garbage) -> None:
    """Let it go; what was used since it was found stays.

    Raises:
        StorageError: the disk refused.
    """
    for item in garbage.items:
        with refusals(item.path), suppress(FileNotFoundError):
            _let_go(item)


def old_runs(folders: Collection[Path], now: datetime, days: int) -> list[Path]:
    """The runs that began longer ago than so many days, but for the newest, the latest that finished, and those at work.

    Args:
        folders: Of runs.
        now: With a time zone.
        days: For which runs stay.
    """
    found = []
    for folder in folders:
        newest, *others = [*runs.newest_first(folder)] or [folder]
        limit = runs.new_id(now - timedelta(days=days))
        spared = {newest.resolve(), (folder / layout.LATEST).resolve()}
        found += [run for run in others if run.name < limit and run.resolve() not in spared and not _is_written(run)]
    return found


def remove_run(run: Path) -> None:
    """Remove the folder of a run; it is none any more from the first instant on.

    Raises:
        StorageError: the disk refused.
    """
    with refusals(run):
        shutil.rmtree(run.rename(run.with_name(f".{run.name}.part")))


def bytes_of(folder: Path) -> int:
    """Of all files below a folder."""
    return sum(item.bytes for item in _items(folder))


def runs_of(folders: Collection[Path], store: Path, gone: Collection[Path] = ()) -> list[Path]:
    """The runs that keep what they refer to in this store.

    Args:
        folders: Of runs.
        store: The store.
        gone: Runs that do not count any more.

    Raises:
        EnvironmentRefusedError: one cannot be read: what it refers to is not known, so that nothing may go.
    """
    found = []
    for run in (run for folder in folders for run in runs.newest_first(folder) if run not in gone):
        try:
            kept_in = Path(msgspec.json.decode((run / layout.PLAN).read_bytes())["settings"]["store"])
        except (OSError, OrchestratorError, msgspec.MsgspecError, KeyError, TypeError) as error:
            raise EnvironmentRefusedError(f"{run}: cannot be read, so that nobody knows what it needs: {error}") from error
        if kept_in.resolve() == store.resolve():
            found.append(run)
    return found


def _let_go(item: Item) -> None:
    """Under another name first: who wants it just now finds it gone and makes it anew, or has told so by its date before."""
    aside = item.path.with_name(f".{secrets.token_hex(6)}.part")
    item.path.rename(aside)
    if aside.stat().st_mtime == item.used:
        aside.unlink()
    else:
        aside.rename(item.path)


def _is_written(run: Path) -> bool:
    """Whether a process is at work on it; a run without a ledger has none."""
    try:
        with ledger.writers_kept_away(run / layout.LEDGER):
            return False
    except StorageError:
        return False
    except EnvironmentRefusedError:
        return True


def _referred(run: Path) -> Iterator[str]:
    for record in ledger.read(run / layout.LEDGER):
        if isinstance(record, CellFinished):
            yield from (file.sha256 for file in record.result.files)


def _files(entry: Path) -> Iterator[str]:
    with suppress(FileNotFoundError):
        yield from (match.decode() for match in SHA256.findall(entry.read_bytes()))


def _items(folder: Path) -> Iterator[Item]:
    """The files that are there; one that a writer is at may be gone the next moment."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                yield Item(path=path, bytes=status.st_size, used=status.st_mtime)


def _set_aside(item: Item) -> bool:
    return item.path.suffix == BAD or item.path.match(TEMPORARY)


def _sha256(blob: Path) -> str:
    return blob.parent.name + blob.name
