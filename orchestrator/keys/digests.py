"""Digests of files and of plain values, the smallest parts of a key.

No clock decides what a digest is: size and time of a file only save reading it twice within one object's life.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrator.digest import digest_of


def of_value(value: Any) -> str:
    """The SHA-256, in hex, of a plain value's canonical JSON: keys sorted, ASCII, no space.

    Floats are written as Python's repr, the shortest text that gives the same number; 1 and 1.0 differ, as they do in a call.

    Args:
        value: Of mappings with text for keys, lists, text, numbers, booleans and None.

    Raises:
        ValueError: A number is not finite; JSON has none, so no value that came from JSON does.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class FileDigests:
    """Digests of files by their bytes; a file that did not change meanwhile is read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int], str] = {}

    def of(self, path: Path) -> str:
        """The SHA-256 of a file's bytes, in hex.

        Raises:
            OSError: It cannot be read.
        """
        stat = path.stat()
        known = (path, stat.st_size, stat.st_mtime_ns)
        if known not in self._known:
            self._known[known] = digest_of(path)
        return self._known[known]

    def of_sources(self, root: Path, places: Iterable[str]) -> str:
        """One digest of the Python sources at several places, over their bytes and their paths below the root.

        Args:
            root: What the paths are relative to, and with them the digest.
            places: Files, or folders of which all sources count; relative to the root.
        """
        paths = [file for place in places for file in _sources(root / place)]
        return of_value({path.relative_to(root).as_posix(): self.of(path) for path in paths})


def _sources(place: Path) -> Iterable[Path]:
    return place.rglob("*.py") if place.is_dir() else (place,)
