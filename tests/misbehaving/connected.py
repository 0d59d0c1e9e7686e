"""`python -m tests.misbehaving.connected ADDRESS STORE [other_onnx]` does units on a `cluster`, with a token of its own.

Prints an event a line, as JSON; or the refusal, with its exit code. With `other_onnx` the nodes seem to have another version.
"""

# ruff: noqa: T201
from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import msgspec

from orchestrator import provenance
from orchestrator.errors import OrchestratorError
from orchestrator.schedulers.base import Program, load
from orchestrator.spec import ClusterSpec, Target, UnitTask
from tests.misbehaving import units

CUDA = Target(name="cuda", device="cuda", provider="CUDAExecutionProvider")


def tasks(store: Path) -> list[UnitTask]:
    """One unit that needs a GPU, and two that do not."""
    needs_gpu, *others = (
        units.make_task(store, *(f"{name}-{number}" for number in numbers), deed="wait_here_for_leave", when="emit", name=name)
        for name, numbers in (("gpu", "1"), ("x", "123"), ("y", "123"))
    )
    cells = tuple(replace(cell, target=CUDA) for cell in needs_gpu.unit.cells)
    return [replace(needs_gpu, unit=replace(needs_gpu.unit, cells=cells)), *others]


def main(address: str, store: Path, *lies: str) -> int:
    if lies:
        ours = provenance.versions()
        provenance.versions = lambda: {**ours, "onnx": "0.9"}
    cluster = ClusterSpec(kind="ray", workers=8, threads_per_worker=1, address=address)
    try:
        for event in load("ray")(tasks(store), cluster, Program(function=units.FUNCTION, preload=())):
            print(msgspec.json.encode(event).decode(), flush=True)
    except OrchestratorError as error:
        print(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
