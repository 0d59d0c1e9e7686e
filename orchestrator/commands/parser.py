"""What the parsers of all verbs have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from orchestrator import runs

SCHEMA_VERSION = 1
"""Of what the verbs print with --json."""


def parser_of(verb: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """A parser for what stands after a verb; its texts keep their line ends."""
    return argparse.ArgumentParser(
        prog=f"python -m orchestrator {verb}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """The argument RUN, for `runs.find`."""
    parser.add_argument("run", metavar="RUN", nargs="?", help="a run folder or its name in runs/; else the newest there")


def add_runs(parser: argparse.ArgumentParser) -> None:
    """The argument --runs: the folder of all runs."""
    parser.add_argument("--runs", type=Path, default=runs.RUNS, metavar="DIR", help=f"the folder of all runs ({runs.RUNS})")


def add_json(parser: argparse.ArgumentParser) -> None:
    """The argument --json, for `as_json`."""
    parser.add_argument("--json", action="store_true", help="print it for a script")


def as_json(**found: object) -> str:
    """What a verb found as indented JSON; a change that its readers can see raises the version."""
    document = {"schema_version": SCHEMA_VERSION, **found}
    return msgspec.json.format(msgspec.json.encode(document)).decode() + "\n"
