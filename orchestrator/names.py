"""Which names from configs may become folder and file names. Does not make paths; whoever makes one relies on this."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

LONGEST_NAME = 64
"""Of a model, an exporter, an input, …"""
LONGEST_IDENTIFIER = 200
"""Of a cell: file systems end at 255 bytes, and staging names add to it."""
NAME_RULE = f"letters, digits, `_`, `.` and `-`, not first a dot or dash, at most {LONGEST_NAME}"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*")


def is_name(text: str) -> bool:
    """Whether the text follows NAME_RULE."""
    return len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


def is_identifier(text: str) -> bool:
    """Whether the text may be a cell's identifier: as NAME_RULE, longer, and with `=`."""
    return len(text) <= LONGEST_IDENTIFIER and _IDENTIFIER.fullmatch(text) is not None


def printable(text: str) -> str:
    """The text with everything that an identifier cannot hold replaced; two texts may become one, which planning refuses."""
    return re.sub(r"[^A-Za-z0-9_.=-]+", "_", text).strip("_") or "_"


def suggestion(wrong: str, names: Iterable[str]) -> str:
    """The end of a message on an unknown name: `; did you mean a or b? There are: a, b, c`."""
    known = sorted(names)
    near = difflib.get_close_matches(wrong, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? There are" if near else "there are"
    return f"; {hint}: {', '.join(known) or 'none'}"
