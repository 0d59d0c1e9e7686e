"""Looks at every byte of a store again. What is damaged is set aside as `*.bad` and listed; nothing is ever deleted.

Temporary files of writers are left out: they may be at work. Whether anything still needs a blob is not asked here.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.digest import digest_of
from orchestrator.errors import EnvironmentRefusedError, StorageError
from orchestrator.store.blobs import SHA256_HEX
from orchestrator.store.disk import BAD, DISK, TEMPORARY, Disk, set_aside
from orchestrator.store.index import MARK, check_version, proof

AGAIN = "run again what needs it: it is made anew"
MOVE = "nothing of ours has this name: move it away"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something that is wrong with a file."""

    kind: str
    """damaged, missing, changed, linked, extra or unreadable."""
    path: str
    message: str
    next: str
    """What to do about it."""


@dataclass(kw_only=True, slots=True)
class Tally:
    """What was looked at."""

    files: int = 0
    bytes: int = 0
    set_aside: list[str] = field(default_factory=list)
    """By someone before: listed, and no problem any more."""


def audit_store(root: Path, tally: Tally, disk: Disk = DISK) -> Iterator[Problem]:
    """Hash every blob, entry of the index and download again.

    Args:
        root: Of the store.
        tally: Is added to.
        disk: A test's.

    Raises:
        EnvironmentRefusedError: It is no store, or one of a newer version.
    """
    _check_is_store(root)
    for path in _files(root):
        if path.name.endswith(BAD):
            tally.set_aside.append(str(path))
            continue
        try:
            problem = _look_at(root, path, tally, disk)
        except FileNotFoundError:
            # Somebody collected garbage meanwhile.
            continue
        except OSError as error:
            problem = Problem(kind="unreadable", path=str(path), message=f"cannot be read: {error.strerror}", next=AGAIN)
        if problem:
            yield problem


def _check_is_store(root: Path) -> None:
    if (root / MARK).is_file():
        check_version(root)
    elif not (root / "blobs").is_dir():
        raise EnvironmentRefusedError(f"{root} is no store: it has neither {MARK} nor blobs.")


def _files(root: Path) -> Iterator[Path]:
    """Everything that is no folder, below the folders whose files can be proved."""
    for folder in ("blobs", "index", "downloads"):
        found = (path for path in sorted((root / folder).rglob("*")) if not path.match(TEMPORARY))
        yield from (path for path in found if path.is_symlink() or not path.is_dir())


def _look_at(root: Path, path: Path, tally: Tally, disk: Disk) -> Problem | None:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        return Problem(kind="extra", path=str(path), message="is a link or no regular file", next=MOVE)
    digest, name = _proof(path.relative_to(root).parts, path)
    if name is None:
        return Problem(kind="extra", path=str(path), message="is not named by a digest", next=MOVE)
    tally.files += 1
    tally.bytes += found.st_size
    return None if digest == name else _set_aside(path, disk)


def _proof(parts: tuple[str, ...], path: Path) -> tuple[str, str | None]:
    """The digest that a file has, and the one that it should have; None if nothing says so."""
    kind, *inside = parts
    if kind == "index":
        told, _, payload = path.read_bytes().partition(b"\n")
        return proof("/".join(inside), payload), told.decode(errors="replace")
    # blobs/ab/cdef… and downloads/<digest>/<name>
    name = "".join(inside) if kind == "blobs" else inside[0]
    if not SHA256_HEX.fullmatch(name):
        return "", None
    return digest_of(path), name


def _set_aside(path: Path, disk: Disk) -> Problem:
    wrong = "has other bytes than were written"
    try:
        bad = set_aside(path, disk)
    except StorageError as error:
        message, advice = f"{wrong}, and could not be set aside: {error}", f"rename it to {path.name}{BAD}"
    else:
        message, advice = f"{wrong}; it was set aside as {bad.name}", AGAIN
    return Problem(kind="damaged", path=str(path), message=message, next=advice)
