"""The mutation benchmark: damages good artifacts in every known way and counts what the verifier catches.

`python -m tests.mutants --json FILE` prints the figures and keeps every outcome, of which `python -m tests.mutants.page FILE`
makes the page.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}

from tests.faults.row import show
from tests.mutants import bench, score, subjects
from tests.mutants.outcome import Benchmark, Outcome, write
from tests.mutants.subjects import Subject

SEED, TUNING_SEED = 4711, 1
OPSETS = (20, 18, 23)
"""Of the artifacts that are damaged, in turn."""
LAST_WORDS = 2000
"""Characters that are kept of what a process said before it died."""
SHOWN_VERSIONS = ("torch", "onnx", "onnxruntime", "onnx-ir", "polygraphy")


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark.

    Returns:
        0 if every figure is reached, else 1.
    """
    asked = _parser().parse_args(arguments)
    asked.seed = asked.seed if asked.seed is not None else TUNING_SEED if asked.tuning else SEED
    began = time.perf_counter()
    outcomes: list[Outcome] = []
    result = _result(asked, outcomes, began)
    for found in _outcomes(asked):
        outcomes += found
        result = _result(asked, outcomes, began)
        # What is there so far: an interrupt costs what is left.
        write(result, asked.json)
    return show(*score.rows(result))


def _result(asked: argparse.Namespace, outcomes: Sequence[Outcome], began: float) -> Benchmark:
    return Benchmark(
        tuning=asked.tuning,
        seed=asked.seed,
        seconds=time.perf_counter() - began,
        workers=asked.workers,
        versions=score.versions(SHOWN_VERSIONS),
        outcomes=tuple(sorted(outcomes, key=lambda one: (one.kind, one.model, one.exporter, one.opset, one.fault, one.where))),
    )


def planned(asked: argparse.Namespace) -> Iterator[Subject]:
    """Every model with every exporter that exports it rightly, the slowest exporter first."""
    models = subjects.TUNING if asked.tuning else subjects.FINAL
    for number, (name, declared) in enumerate(models.items()):
        for turn, exporter in enumerate(declared.exporters):
            if not asked.models or name in asked.models:
                opset = OPSETS[(number + turn) % len(OPSETS)]
                yield Subject(model=name, exporter=exporter, opset=opset, seed=asked.seed, tuning=asked.tuning)


def _outcomes(asked: argparse.Namespace) -> Iterator[list[Outcome]]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([bench.__name__])
    plan = sorted(planned(asked), key=lambda subject: subject.exporter != "dynamo")
    with tempfile.TemporaryDirectory(prefix="mutants-") as root, ThreadPoolExecutor(asked.workers) as pool:
        working = {
            pool.submit(_alone, context, subject, Path(root) / subject.name, asked.per_fault): subject for subject in plan
        }
        for done, future in enumerate(as_completed(working), 1):
            found = future.result()
            sys.stderr.write(f"[{done}/{len(plan)}] {score.line(working[future].name, found)}\n")
            yield found


def _alone(context: BaseContext, subject: Subject, folder: Path, per_fault: int) -> list[Outcome]:
    """In a fresh process: what one subject leaves behind is no matter of the next, nor is its end."""
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(bench.quietly, subject, folder, per_fault).result()
        except BrokenProcessPool:
            said = bench.log_of(folder).read_text(errors="replace")[-LAST_WORDS:]
            return [bench.unjudged(subject, None, f"its process died: {said}")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--tuning", action="store_true", help="the models for tuning, not those of the final score")
    parser.add_argument("--seed", type=int, help="of weights, probes and places of faults")
    parser.add_argument("--models", nargs="*", default=[], help="only these")
    parser.add_argument("--per-fault", type=int, default=2, help="mutants of each fault and subject, at most")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--json", type=Path, required=True, help="file for all outcomes")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
