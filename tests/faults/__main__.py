"""Runs every campaign of this folder and prints one table: `python -m tests.faults`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from tests.faults.row import show_all


def main() -> int:
    """Run each module that has a `campaign`, one after the other.

    Returns:
        1 if a promise was broken, else 0.
    """
    names = [path.stem for path in sorted(Path(__file__).parent.glob("*.py")) if not path.stem.startswith(("_", "test_"))]
    modules = [importlib.import_module(f"tests.faults.{name}") for name in names]
    return show_all(module.campaign() for module in modules if hasattr(module, "campaign"))


if __name__ == "__main__":
    sys.exit(main())
