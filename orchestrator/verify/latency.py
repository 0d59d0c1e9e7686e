"""Time and memory of an artifact beside eager's, on one input, in this process: figures for a person, no check.

What is on a GPU is not counted as memory: only what the process holds on the host is.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from orchestrator.build.adapter import flatten
from orchestrator.result import Speed
from orchestrator.verify.evaluator import Evaluator
from orchestrator.verify.reference import array
from orchestrator.verify.session import Session

WARM_UP = 3
SECONDS = 4.0
"""About so long the pairs take together …"""
PAIRS = (7, 101)
"""… if it takes no fewer and no more than so many."""


def measure(
    module: torch.nn.Module, session: Session | Evaluator, inputs: Mapping[str, torch.Tensor], device: str, threads: int
) -> Speed:
    """Ask eager and the artifact in turn, so that what else the machine does meets both alike.

    Args:
        module: On the CPU; it is moved to the device and stays there.
        session: Of the artifact, not used before: it is loaded here.
        inputs: By name, in the module's order, on the CPU; both get them there and answer there.
        device: Of the target, as in torch.
        threads: That both have, for the record.

    Raises:
        ArtifactError: The artifact does not load or run.
    """
    values, arrays = list(inputs.values()), {name: array(value) for name, value in inputs.items()}
    module.to(device)

    def eager() -> None:
        with torch.inference_mode():
            for answer in flatten(module(*(value.to(device) for value in values))):
                answer.cpu()

    def artifact() -> None:
        session(arrays)

    memory = {ask: _growth(lambda ask=ask: [ask() for _ in range(WARM_UP)]) for ask in (eager, artifact)}  # type: ignore[misc]
    pair = _seconds(eager) + _seconds(artifact)
    pairs = [(_seconds(artifact), _seconds(eager)) for _ in range(min(max(int(SECONDS / pair), PAIRS[0]), PAIRS[1]))]
    return Speed(
        artifact_seconds=statistics.median(ours for ours, _ in pairs),
        eager_seconds=statistics.median(theirs for _, theirs in pairs),
        ratio=statistics.median(ours / theirs for ours, theirs in pairs),
        pairs=len(pairs),
        threads=threads,
        artifact_bytes=memory[artifact],
        eager_bytes=memory[eager] + _weights(module),
    )


def _seconds(ask: Callable[[], None]) -> float:
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


def _growth(work: Callable[[], object]) -> int:
    """Bytes by which this process grew at most while it worked."""
    # What the allocator keeps of earlier work would be used again and not be seen.
    ctypes.CDLL(None).malloc_trim(0)
    # Linux forgets the peak so far, see proc(5).
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    work()
    return max(0, _resident("VmHWM") - before)


def _resident(name: str) -> int:
    """Bytes, by the kernel's count."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def _weights(module: torch.nn.Module) -> int:
    """Bytes of the storages, each once: tied weights share one."""
    storages = [tensor.untyped_storage() for tensor in (*module.parameters(), *module.buffers())]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
