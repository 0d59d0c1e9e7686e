"""The verb init: writes a folder for configs of one's own, which works as it is. The texts are in `orchestrator/starter`."""

from __future__ import annotations

import importlib.resources
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path

from orchestrator.commands.parser import parser_of
from orchestrator.errors import UserError
from orchestrator.spec import RunSpec

NOT_A_MODULE_HERE = ".txt"
"""Ends the names of Python files in the package that become modules only where they are written to."""


def main(typed: Sequence[str], read: Callable[[Sequence[str]], RunSpec]) -> int:  # noqa: ARG001
    """Does what the command line after `init` says.

    Args:
        typed: The words after the verb.
        read: Not used: there is nothing to configure.

    Returns:
        0.

    Raises:
        UserError: The folder is not empty, or cannot be written.
    """
    what = "Writes a folder for configs of your own: models, a fleet, a known issue, a README, a schema for editors."
    parser = parser_of("init", what)
    parser.add_argument("folder", metavar="DIR", help="new or empty")
    folder = Path(parser.parse_args(typed).folder)
    try:
        write(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from error
    shown = shlex.quote(str(folder))
    sys.stdout.write(f"{folder}/README.md says what is there. To begin:\n\n")
    sys.stdout.write(f"    python -m orchestrator --config-dir {shown} +model=my_encoder\n")
    return 0


def write(folder: Path) -> None:
    """Write the starter folder.

    Raises:
        UserError: There is something already.
        OSError: It cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is not empty, and nothing of yours is to be overwritten; name a new folder")
    _copy(importlib.resources.files("orchestrator").joinpath("starter"), folder)


def _copy(source: Traversable, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for item in source.iterdir():
        if item.is_dir():
            _copy(item, target / item.name)
        else:
            (target / item.name.removesuffix(NOT_A_MODULE_HERE)).write_bytes(item.read_bytes())
