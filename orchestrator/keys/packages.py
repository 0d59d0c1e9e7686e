"""Installed distributions as parts of a key: name, version, and a digest of the list of files that was installed.

An installed file that was edited by hand is not noticed: the list is believed.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from importlib import metadata

Description = Mapping[str, str]
"""`version` and `record`."""


class Packages:
    """What is installed, read when it is asked for, and once."""

    def __init__(self) -> None:
        self._described: dict[str, Description | None] = {}

    def of_import(self, top: str) -> Mapping[str, Description]:
        """The distributions that install files of a top-level import package; empty if there are none, or without a RECORD.

        A namespace package may be of several.
        """
        found = {_normal(name): self.described(name) for name in _owners().get(top, ())}
        return {name: description for name, description in found.items() if description is not None}

    def described(self, name: str) -> Description | None:
        """Version and RECORD digest of a distribution, or None if it is not installed or has no RECORD."""
        if name not in self._described:
            self._described[name] = _described(name)
        return self._described[name]

    def layers_of(self, name: str) -> Mapping[str, Description]:
        """The distributions that one requires, as far as they require torch themselves.

        They may hold layers of its models, as torchvision holds some of timm's. Extras are not followed.
        """
        found = {required: self.described(required) for required in _required(name) if "torch" in _required(required)}
        return {required: description for required, description in found.items() if description is not None}


@functools.cache
def _owners() -> Mapping[str, list[str]]:
    """By import package; read once in the life of a process, like the modules that it imports."""
    return metadata.packages_distributions()


def _described(name: str) -> Description | None:
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    record = distribution.read_text("RECORD")
    return None if record is None else {"version": distribution.version, "record": record_digest(record)}


def record_digest(record: str) -> str:
    """The SHA-256, in hex, of what a RECORD says of the package's own files.

    Left out is what differs between two installations of one wheel: scripts, which hold the path of their interpreter, compiled
    bytecode, which has no digest, and the notes of the installer beside the RECORD.
    """
    rows = sorted(f"{path},{digest}\n" for path, digest, _ in csv.reader(record.splitlines()) if digest and _is_own(path))
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def _is_own(path: str) -> bool:
    return not path.startswith(("..", "/")) and ".dist-info" not in path.partition("/")[0]


@functools.cache
def _required(name: str) -> frozenset[str]:
    """Names of the distributions that one requires without any extra."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        lines = []
    return frozenset(_names(lines))


def _names(lines: list[str]) -> Iterator[str]:
    for line in lines:
        name, marker = re.match(r"[\w.-]*", line), line.partition(";")[2]
        if name is not None and "extra" not in marker:
            yield _normal(name[0])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
