"""Whether the artifact gives the same bits again: to the same session, and at strict in a process of its own.

Other machines, other numbers of threads and other versions of the runtime are not covered.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from orchestrator.spec import VerifyLevel
from orchestrator.verify import again
from orchestrator.verify.base import REFERENCE_EVALUATOR, ArtifactError, Subject, Verdict, judged
from orchestrator.verify.compare import digest
from orchestrator.verify.reference import Probe

DEADLINE_SECONDS = 300.0
"""For the second process; a cell's own deadline is usually shorter."""


def check(subject: Subject) -> Verdict:
    """One probe twice, bit by bit."""
    probe = _cheapest(subject)
    first = _digests(subject.answer(probe))
    problems = _told(subject, first, _digests(subject.session(probe.inputs)), "the second time in one session")
    runs = "twice in one session"
    if subject.spec.level is VerifyLevel.STRICT and subject.target.provider != REFERENCE_EVALUATOR:
        problems += _told(subject, first, _elsewhere(subject, probe), "in a second process")
        runs += " and once in another process"
    return judged("determinism", problems, f"the same bits {runs}")


def _cheapest(subject: Subject) -> Probe:
    """The probe with the fewest input elements; the example if the artifact does not run on that, which `shapes` tells."""
    smallest = min(subject.reference.probes, key=lambda probe: sum(values.size for values in probe.inputs.values()))
    try:
        subject.answer(smallest)
    except ArtifactError:
        return subject.reference.example
    return smallest


def _told(subject: Subject, first: Sequence[str], second: Sequence[str], when: str) -> list[str]:
    names = [output.name for output in subject.model.outputs]
    different = [name for name, one, other in zip(names, first, second, strict=False) if one != other]
    return [f"{', '.join(different)} has other bits {when}"] if different else []


def _digests(answers: Sequence[np.ndarray]) -> list[str]:
    return [digest(values) for values in answers]


def _elsewhere(subject: Subject, probe: Probe) -> list[str]:
    """Run the artifact on the probe in a new process, with the options of this session."""
    with tempfile.TemporaryDirectory(prefix="again-") as folder:
        again.write(Path(folder), probe.inputs)
        arguments = [str(subject.path), subject.target.provider, str(subject.threads), folder]
        try:
            done = subprocess.run(
                [sys.executable, again.__file__, *arguments],
                capture_output=True,
                text=True,
                timeout=DEADLINE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ArtifactError(f"a second process did not end within {DEADLINE_SECONDS:.0f} s") from error
    if done.returncode:
        raise ArtifactError(f"it does not run in a second process: {' '.join(done.stderr.split())[-500:]}")
    return done.stdout.split()
