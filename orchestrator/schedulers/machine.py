"""Starts Ray on this machine as a run does, and stops it: `python -m orchestrator.schedulers.machine`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from orchestrator.errors import EnvironmentRefusedError
from orchestrator.schedulers.connection import own_ray


def main() -> int:
    """Starts and stops it.

    Returns:
        0 if it started, else 3, with the reason on standard error.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder, own_ray(Path(folder), slots=1):
            return 0
    except EnvironmentRefusedError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
