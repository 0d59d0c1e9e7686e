"""The signs by which a running cell is shown: one character where there are many, a bar of stages where there is room."""

from __future__ import annotations

from typing import Literal

from rich.text import Text

from orchestrator.report import wording
from orchestrator.report.terminal import style
from orchestrator.result import Stage, Status

STAGES = tuple(Stage)
SIGNS = {Status.PASSED: "✔", Status.SKIPPED: "-", Status.UNVERIFIED: "?"}
"""All others have failed."""
ASCII = {"✔": "+", "✘": "x", "·": ".", "●": "#", "◉": ">", "○": "."}
"""For terminals that know nothing else."""


def ended(status: Status, expected: bool, ascii_only: bool) -> tuple[str, str]:
    """How a cell ended, and its style: `✔` passed, `✘` failed, `~` failed as is known, `?` unverified, `-` skipped."""
    return _plain(SIGNS.get(status, "~" if expected else "✘"), ascii_only), style(status, expected)


def waiting(ascii_only: bool) -> tuple[str, str]:
    """A cell that nobody works for: `·`."""
    return _plain("·", ascii_only), "dim"


def working(stage: Stage) -> tuple[str, str]:
    """A cell at a stage: the first letter of its name, which no other stage has."""
    return stage[0], "bold cyan"


def bar(stage: Stage, ascii_only: bool) -> Text:
    """The five stages as marks, the one at work named: `●●◉○○ capture`."""
    before = STAGES.index(stage)
    past, now, ahead = (_plain(sign, ascii_only) for sign in ("●" * before, "◉", "○" * (len(STAGES) - before - 1)))
    return Text.assemble((past, "green"), (now, "cyan"), (ahead, "dim"), (f" {stage}", "cyan"))


def shown(text: str, ascii_only: bool) -> str:
    """Text from elsewhere, as wide as it will be on the terminal."""
    visible = wording.visible(text)
    return visible.encode("ascii", "backslashreplace").decode() if ascii_only else visible


def overflow(ascii_only: bool) -> Literal["crop", "ellipsis"]:
    """What happens to text that is too long: rich's `…` is no ASCII."""
    return "crop" if ascii_only else "ellipsis"


def count(number: int, status: Status, expected: bool, ascii_only: bool) -> Text:
    """How many cells ended so: `~ 2 export_failed (known)`."""
    sign, colour = ended(status, expected, ascii_only)
    return Text(f"{sign} {counted(number, status, expected)}", colour)


def counted(number: int, status: Status, expected: bool) -> str:
    """The same without a sign: `2 export_failed (known)`."""
    return f"{number} {status}" + (" (known)" if expected and status not in wording.GOOD else "")


def _plain(signs: str, ascii_only: bool) -> str:
    return "".join(ASCII.get(sign, sign) for sign in signs) if ascii_only else signs
