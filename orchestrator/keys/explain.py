"""Why a cell was done again: what differs between the parts of two keys, in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

Path = tuple[str, ...]

MOST = 3
"""Changes that are told; the rest are counted."""
WIDEST = 40
"""Characters of a value."""
SHA256 = re.compile(r"[0-9a-f]{64}")
OURS = {"conversion": "this project's exporters", "verification": "this project's verification"}
DISTRIBUTIONS = ("tools", "packages", "runtime")
"""Parts that hold name → version, and a digest of the files."""
FILES = ("record", "build")


def why(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> str:
    """Says what changed.

    Args:
        old: Parts of the cell's key when it was last done, also of an older schema; None if it never was.
        new: Parts of the key now.

    Returns:
        `first time`; or changes as `torch 2.14.1 → 2.15.0`, modules of code by name, then `nothing else` or `and N more`.
    """
    if old is None:
        return "first time"
    before, after = dict(_leaves(old, ())), dict(_leaves(new, ()))
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    in_order = [path for path in {**before, **after} if path in changed and not _implied(path, changed)]
    changes = list(dict.fromkeys(_told(path, before.get(path), after.get(path)) for path in in_order))
    if not changes:
        return "no part of the key changed"
    if len(changes) > MOST:
        return f"{', '.join(changes[:MOST])} and {len(changes) - MOST} more"
    return f"{', '.join(changes)}, nothing else"


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """All values that hold no others, as JSON; inputs and outputs by their names, and the order of the names."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, (*path, name))
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) and "name" in item for item in value):
        yield (*path, "order"), json.dumps([item["name"] for item in value])
        for item in value:
            yield from _leaves({name: inner for name, inner in item.items() if name != "name"}, (*path, item["name"]))
    else:
        yield path, json.dumps(value, sort_keys=True)


def _implied(path: Path, changed: Collection[Path]) -> bool:
    """Another version of a distribution has other files; to say so as well tells nothing."""
    return path[-1] in FILES and (*path[:-1], "version") in changed


def _told(path: Path, old: str | None, new: str | None) -> str:
    label = _label(path)
    if old is None or new is None:
        value = "" if label.startswith("code of") else f" {_value(new or old or '')}"
        return f"{label}{value} {'is new' if old is None else 'is gone'}"
    return f"{label} changed" if label.startswith("code of") else f"{label} {_value(old)} → {_value(new)}"


def _label(path: Path) -> str:
    match path:
        case ("code", "modules", name):
            return f"code of {name}"
        case ("code", ("conversion" | "verification") as part):
            return f"code of {OURS[part]}"
        case (*_, part, name, "version") if part in DISTRIBUTIONS:
            return name
        case (*_, part, name, "record" | "build" as what) if part in DISTRIBUTIONS:
            return f"{what} of {name}"
        case _:
            return ".".join(path)


def _value(leaf: str) -> str:
    """Text without its quotes; a digest by its beginning."""
    value = json.loads(leaf)
    text = value if isinstance(value, str) else leaf
    if SHA256.fullmatch(text):
        return text[:8]
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."
