"""The verb doctor: what a run would meet on this machine, what would be skipped and why."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator import doctor
from orchestrator.commands.parser import add_json, add_runs, as_json, parser_of
from orchestrator.doctor import Level, Symptom
from orchestrator.errors import EXIT_PASSED, EXIT_UNEXPECTED
from orchestrator.report import wording
from orchestrator.spec import RunSpec

DESCRIPTION = """\
Says what a run would meet on this machine: versions, devices, providers of ONNX Runtime, Ray, free disk, the store, the runs
and the baseline; what would be skipped, and why. It starts Ray once, as a run does, and takes some ten seconds."""
EPILOG = """\
examples:
  python -m orchestrator doctor
  python -m orchestrator doctor --store /mnt/shared/store --json

Exit codes: 0 a run can start; 1 something would end it or fail its cells, a line marked x each; 2 what was typed is wrong."""
MARKS = {Level.GOOD: "+", Level.NOTE: "!", Level.PROBLEM: "x"}


def main(typed: Sequence[str], read: Callable[[Sequence[str]], RunSpec]) -> int:  # noqa: ARG001
    """Does what the command line after `doctor` says.

    Args:
        typed: The words after the verb.
        read: Not used: there is nothing to configure.

    Returns:
        0 if nothing stands in the way of a run, else 1.
    """
    parser = parser_of("doctor", DESCRIPTION, EPILOG)
    add_runs(parser)
    parser.add_argument("--store", type=Path, metavar="DIR", help="the store (.store in the folder of all runs)")
    add_json(parser)
    arguments = parser.parse_args(typed)
    symptoms = []
    for symptom in doctor.examine(arguments.runs, arguments.store or arguments.runs / ".store"):
        symptoms.append(symptom)
        if not arguments.json:
            sys.stdout.write(_line(symptom))
            sys.stdout.flush()
    problems = [symptom for symptom in symptoms if symptom.level is Level.PROBLEM]
    if arguments.json:
        sys.stdout.write(as_json(symptoms=symptoms))
    else:
        sys.stdout.write(f"{wording.count(len(problems), 'problem')}\n" if problems else "a run can start\n")
    return EXIT_UNEXPECTED if problems else EXIT_PASSED


def _line(symptom: Symptom) -> str:
    first = wording.visible(f"{MARKS[symptom.level]} {symptom.area:<10} {symptom.message}")
    return f"{first}\n" + (wording.visible(f"  {'':<10} {symptom.next}") + "\n" if symptom.next else "")
