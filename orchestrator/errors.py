"""Every error that ends the command, each with its exit code; the text is written for the reader at 2 am.

OrchestratorError
├── UserError                exit 2: what was typed or written is wrong; nothing was started, no folder is left
├── EnvironmentRefusedError  exit 3: an address, a token, a node, the store, the disk or a ledger refused
│   └── StorageError         of the disk: full, read-only, failing, or holding other bytes than were written
└── InterruptedRunError      exit 130: Ctrl-C or SIGTERM; the run folder holds what was finished

A cell that fails is not an error of the command: it is a `result.CellResult`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

EXIT_PASSED = 0
"""Every cell ended as expected."""
EXIT_UNEXPECTED = 1
"""The run reached its end and some cell did not end as expected."""


class OrchestratorError(Exception):
    """Base of the errors that end the command."""

    exit_code: int


class UserError(OrchestratorError):
    """One or several mistakes in what the user typed or wrote, shown together, one line each."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        assert problems, "an error without a message helps nobody"
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


class EnvironmentRefusedError(OrchestratorError):
    """The environment refused: an address, a token, a node, the store, the disk or a damaged ledger."""

    exit_code = 3


class StorageError(EnvironmentRefusedError):
    """A disk refused or lied; in a unit it makes the cell an infra_error of this kind, in the driver it ends the run."""

    def __init__(self, kind: Literal["disk_full", "read_only", "io", "missing", "corrupt"], message: str) -> None:
        super().__init__(message)
        self.kind = kind

    @property
    def is_loss(self) -> bool:
        """Whether it is about bytes that the store should have, and not about a disk that refuses."""
        return self.kind in ("missing", "corrupt")


class WrongToolsError(Exception):
    """A worker has other tools than those that the keys of its cells name; never seen by the user as an exception."""


class InterruptedRunError(OrchestratorError):
    """The user or the system asked us to stop."""

    exit_code = 130
