"""What the parsers of all verbs have in common."""

from __future__ import annotations

import argparse


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
