"""Judges clean, damaged and harmlessly changed artifacts of one subject, each in a process of its own that may crash."""

from __future__ import annotations

import faulthandler
import functools
import gc
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from unittest import mock

import msgspec
import torch

from orchestrator.result import CheckStatus
from orchestrator.verify import native, verifier
from orchestrator.verify.base import Candidate
from tests.mutants import others, subjects
from tests.mutants.catalogue import FAULTS
from tests.mutants.controls import CONTROLS
from tests.mutants.equivalence import Judge
from tests.mutants.outcome import Outcome
from tests.mutants.subjects import Subject
from tests.mutants.work import Fault, Work, copied

OPSETS = (18, 20, 21, 23)
"""Of clean exports."""
DEADLINE_SECONDS = 180.0
"""For one artifact; the slowest takes a few seconds."""
FAR = 1e9
"""Distance of what does not answer, or not alike."""
CRASH = "crash"
"""In the place of a check, where native code took the process that judged with it: such a cell would end as crashed."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A subject with its good artifact, warm: what a mutant needs is computed before its process is forked."""

    subject: Subject
    good: Candidate
    judge: Judge


@contextmanager
def native_checker(path: Path) -> Iterator[Callable[[], str | None]]:
    """Stands in for `native.start`: onnx's checker in a fork of this process, where a new one would import onnx each time."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(native.examine(str(path))))
    child.start()
    sender.close()

    def collect() -> str | None:
        try:
            return str(said) if (said := receiver.recv()) is not None else None
        except EOFError:
            child.join()
            return f"the checker crashed (exit code {child.exitcode})"

    yield functools.cache(collect)
    child.kill()
    child.join()


def quietly(subject: Subject, folder: Path, per_fault: int) -> list[Outcome]:
    """The same as `run` in a process of its own: what is said on the way goes to a file beside the folder."""
    log = os.open(log_of(folder), os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable()
    return run(subject, folder, per_fault)


def log_of(folder: Path) -> Path:
    """Where the process of a subject says what it has to say."""
    return folder.with_suffix(".log")


def run(subject: Subject, folder: Path, per_fault: int) -> list[Outcome]:
    """All outcomes of a subject.

    Args:
        subject: What is exported and damaged.
        folder: A new one, removed at the end.
        per_fault: Mutants of each fault, at most: there may be fewer places.
    """
    torch.set_num_threads(1)
    made, candidates = make(subject, folder / "good", sorted({subject.opset, *OPSETS}))
    outcomes = [_clean(subject, candidate) for candidate in candidates]
    made.judge.warm()
    outcomes += mutants(made, folder, FAULTS, per_fault)
    outcomes += mutants(made, folder, CONTROLS, 1)
    shutil.rmtree(folder)
    return outcomes


def make(subject: Subject, folder: Path, opsets: Sequence[int]) -> tuple[Made, list[Candidate]]:
    """Export a subject at these opsets, its own among them."""
    folder.mkdir(parents=True)
    candidates = list(subjects.export(subject, subjects.module_of(subject), folder, opsets))
    good = next(candidate for candidate in candidates if candidate.opset == subject.opset)
    return Made(subject=subject, good=good, judge=Judge(good=good.path, model=good.model)), candidates


def mutants(made: Made, folder: Path, faults: Sequence[Fault], per_fault: int) -> Iterator[Outcome]:
    """One after the other, each forked off this process."""
    gc.collect()
    gc.freeze()
    for fault in faults:
        for number, place in enumerate(chosen_places(made, fault, per_fault)):
            here = folder / f"{fault.name}-{number}".replace(" ", "-")
            yield forked(lambda fault=fault, place=place, here=here: _judged(made, fault, place, here), made, fault)
            shutil.rmtree(here, ignore_errors=True)


def chosen_places(made: Made, fault: Fault, count: int) -> list[int]:
    """Places by their number, drawn from the subject's seed."""
    work = Work(subject=made.subject, candidate=made.good, random=Random(0))  # noqa: S311
    places = sum(1 for _ in fault.places(work))
    return Random(f"{made.subject.name} {fault.name}").sample(range(places), min(count, places))  # noqa: S311


def damaged(made: Made, fault: Fault, place: int, folder: Path) -> tuple[Candidate, str]:
    """A copy with the fault in a place, and where that is."""
    random = Random(f"{made.subject.name} {fault.name} {place}")  # noqa: S311
    work = Work(subject=made.subject, candidate=copied(made.good, folder / "artifact"), random=random)
    chosen = list(fault.places(work))[place]
    chosen.damage()
    return work.finish(fault), chosen.where


def _judged(made: Made, fault: Fault, place: int, folder: Path) -> Outcome:
    candidate, where = damaged(made, fault, place, folder)
    # JSON knows no infinity.
    distance = min(made.judge.distance(candidate.path), FAR) if fault.numeric else None
    return _outcome(made.subject, candidate, fault, where, distance)


def _clean(subject: Subject, candidate: Candidate) -> Outcome:
    return _outcome(subject, candidate, None, "", None)


def _outcome(subject: Subject, candidate: Candidate, fault: Fault | None, where: str, distance: float | None) -> Outcome:
    began = time.perf_counter()
    with mock.patch.object(native, "start", native_checker):
        checks, _ = verifier.verify(candidate, threads=1)
    seconds = time.perf_counter() - began
    bad = {check.id: check.detail for check in checks if check.status in (CheckStatus.FAILED, CheckStatus.ERROR)}
    return Outcome(
        kind="clean" if fault is None else "mutant" if fault.check else "harmless",
        model=subject.model,
        exporter=subject.exporter,
        opset=candidate.opset,
        seed=subject.seed,
        fault=fault.name if fault else "",
        where=where,
        check=fault.check if fault else "",
        failing=bad,
        distance=distance,
        others=others.opinions(candidate),
        seconds=seconds,
    )


def forked(work: Callable[[], Outcome], made: Made, fault: Fault) -> Outcome:
    """What a forked child says; if it dies or is late, that."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_tell, args=(work, sender))
    began = time.perf_counter()
    child.start()
    sender.close()
    try:
        if receiver.poll(DEADLINE_SECONDS):
            told = receiver.recv_bytes()
            child.join()
            return msgspec.json.decode(told, type=Outcome)
    except EOFError:
        child.join()
        return _died(made, fault, child.exitcode or 0, time.perf_counter() - began)
    child.kill()
    child.join()
    return unjudged(made.subject, fault, f"not judged in {DEADLINE_SECONDS:.0f} s")


def _tell(work: Callable[[], Outcome], sender: Connection) -> None:
    sender.send_bytes(msgspec.json.encode(work()))
    sender.close()


def _died(made: Made, fault: Fault, code: int, seconds: float) -> Outcome:
    """A signal is native code's; an exit code is that of a fault that could not be put there."""
    found = unjudged(made.subject, fault, f"exit code {code}")
    return replace(found, failing={CRASH: found.error}, error="", seconds=seconds) if code < 0 else found


def unjudged(subject: Subject, fault: Fault | None, reason: str) -> Outcome:
    """Of an artifact, or of all clean ones of a subject, nothing is known: that is no catch."""
    return Outcome(
        kind="clean" if fault is None else "mutant" if fault.check else "harmless",
        model=subject.model,
        exporter=subject.exporter,
        opset=subject.opset,
        seed=subject.seed,
        fault=fault.name if fault else "",
        where="",
        check=fault.check if fault else "",
        failing={},
        distance=None,
        others={},
        seconds=0.0,
        error=reason,
    )
