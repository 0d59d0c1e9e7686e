"""What a run would meet on this machine: tools, devices, providers, Ray, disks, the store and the runs. Mends nothing.

Heavy libraries are asked in processes of their own. Nodes of a cluster that exists are not looked at: each proves itself at
the beginning of a run.
"""

from __future__ import annotations

import enum
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from orchestrator import baseline, provenance
from orchestrator.errors import EnvironmentRefusedError
from orchestrator.history import index as history
from orchestrator.report import wording
from orchestrator.store import disk, index

PROBE_SECONDS = 120.0
"""For a process that imports torch or starts Ray, on a machine that is busy."""
LITTLE = 5_000_000_000
"""Bytes: with less room than this a run of a few large models may fill the disk."""
NEEDED = ("torch", "onnx", "onnxscript", "onnx-ir", "ray", "hydra-core", "omegaconf", "numpy", "safetensors", "msgspec")
RUNTIMES = ("onnxruntime-gpu", "onnxruntime")
OF_MODELS = ("torchvision", "timm", "transformers")
"""That models in conf/model are built from; the extra zoo brings them."""
EXPECTED_TO_FAIL = {"CUDAExecutionProvider": "cuda", "TensorrtExecutionProvider": "tensorrt"}
"""Providers that need a device → the targets that ask for them."""


class Level(enum.StrEnum):
    """How good that is."""

    GOOD = "good"
    NOTE = "note"
    """A run goes on, and leaves something out."""
    PROBLEM = "problem"
    """A run would end, or fail its cells."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Symptom:
    """Something that was looked at."""

    area: str
    """versions, devices, providers, ray, store, runs, disk."""
    level: Level
    message: str
    """What there is, or what will happen."""
    next: str = ""
    """What to do, if something is to be done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Machine:
    """What `verify.machine` prints."""

    cuda: tuple[str, ...]
    providers: Mapping[str, str | None]


def examine(runs: Path, store: Path) -> Iterator[Symptom]:
    """Look at everything, one after the other.

    Args:
        runs: The folder of all runs.
        store: The shared store.
    """
    yield from _versions(provenance.versions())
    probes = [_started(module) for module in ("orchestrator.verify.machine", "orchestrator.schedulers.machine")]
    yield from _hardware(provenance.host())
    yield from _disks([("runs", runs), ("store", store), ("temporary files", Path(tempfile.gettempdir()))])
    yield from _store(store)
    yield from _runs(runs)
    torch, ray = (_ended(probe) for probe in probes)
    yield from _devices(torch)
    yield from _ray(ray)


@dataclass(frozen=True, slots=True)
class Ended:
    """A probe that came to its end."""

    code: int
    out: bytes
    said: str
    """The last line on standard error."""


def _started(module: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", module]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, start_new_session=True)


def _ended(probe: subprocess.Popen[bytes]) -> Ended:
    try:
        out, told = probe.communicate(timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        probe.kill()
        probe.communicate()
        return Ended(1, b"", f"it took longer than {PROBE_SECONDS:.0f} s")
    lines = told.decode(errors="replace").strip().splitlines()
    return Ended(probe.returncode, out, lines[-1] if lines else f"it ended with {probe.returncode}")


def _versions(versions: Mapping[str, str]) -> Iterator[Symptom]:
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    yield Symptom(area="versions", level=Level.GOOD, message=told)
    install = "install the project's requirements.lock, or the package itself"
    for name in NEEDED:
        if name not in versions:
            yield Symptom(area="versions", level=Level.PROBLEM, message=f"{name} is not installed", next=install)
    if not any(name in versions for name in RUNTIMES):
        yield Symptom(area="versions", level=Level.PROBLEM, message="ONNX Runtime is not installed", next=install)
    for name in OF_MODELS:
        if name not in versions:
            message = f"{name} is not installed: models that are built from it end as export_failed"
            yield Symptom(area="versions", level=Level.NOTE, message=message, next="install the extra zoo to have them")


def _hardware(host: Mapping[str, str | int]) -> Iterator[Symptom]:
    message = f"{host['processor']}, {host['cpus']} cores, {wording.size(int(host['memory']))} of memory"
    yield Symptom(area="devices", level=Level.GOOD, message=message)


def _devices(ended: Ended) -> Iterator[Symptom]:
    """What torch and ONNX Runtime find, and whose cells are skipped for it."""
    if ended.code:
        message = f"torch or ONNX Runtime does not work: {ended.said}"
        yield Symptom(
            area="devices", level=Level.PROBLEM, message=message, next="every export would fail; mend the installation"
        )
        return
    machine = msgspec.json.decode(ended.out, type=_Machine)
    if machine.cuda:
        yield Symptom(area="devices", level=Level.GOOD, message=f"CUDA: {', '.join(machine.cuda)}")
    elif "cuda" in provenance.local_devices():
        message = "there is an NVIDIA device, and torch cannot use it: cells with a target on cuda would fail"
        yield Symptom(
            area="devices", level=Level.PROBLEM, message=message, next="look at the driver; nvidia-smi tells its version"
        )
    else:
        message = "no CUDA device: cells with a target on cuda are skipped"
        wish = "require_targets=true makes that exit code 3; a cluster with such a node has them: cluster=ray"
        yield Symptom(area="devices", level=Level.NOTE, message=message, next=wish)
    yield from _providers(machine)


def _providers(machine: _Machine) -> Iterator[Symptom]:
    working = [name for name, failure in machine.providers.items() if failure is None]
    level = Level.GOOD if "CPUExecutionProvider" in working else Level.PROBLEM
    yield Symptom(area="providers", level=level, message=f"ONNX Runtime runs on {', '.join(working) or 'none'}")
    for name, failure in machine.providers.items():
        if failure is not None:
            target = EXPECTED_TO_FAIL.get(name, "of that provider")
            then = f"target={target} would fail its checks" if machine.cuda else f"target={target} is skipped"
            yield Symptom(area="providers", level=Level.NOTE, message=f"{name} does not start: {then}", next=failure)


def _ray(ended: Ended) -> Iterator[Symptom]:
    if ended.code == 0:
        yield Symptom(area="ray", level=Level.GOOD, message="Ray starts on this machine")
    else:
        message = f"Ray does not start on this machine: {ended.said}"
        yield Symptom(
            area="ray", level=Level.PROBLEM, message=message, next="cluster=inline works without it, without isolation"
        )


def _disks(places: Sequence[tuple[str, Path]]) -> Iterator[Symptom]:
    for name, folder in places:
        free = disk.free(folder.absolute())
        message = f"{wording.size(free)} free for {name} ({folder})"
        little = free < LITTLE
        wish = "make room; python -m orchestrator gc says what of the store can go" if little else ""
        yield Symptom(area="disk", level=Level.NOTE if little else Level.GOOD, message=message, next=wish)


def _store(root: Path) -> Iterator[Symptom]:
    if not root.exists():
        parent = next(folder for folder in root.absolute().parents if folder.exists())
        if os.access(parent, os.W_OK):
            yield Symptom(area="store", level=Level.GOOD, message=f"{root} is made by the first run")
        else:
            wish = "choose another one with store.path, or runs elsewhere with hydra.sweep.dir"
            yield Symptom(
                area="store", level=Level.PROBLEM, message=f"{root} cannot be made: {parent} is not writable", next=wish
            )
        return
    try:
        index.prepare(root)
    except EnvironmentRefusedError as error:
        yield Symptom(
            area="store", level=Level.PROBLEM, message=str(error), next="python -m orchestrator audit --store says more"
        )
        return
    sizes = [path.stat().st_size for path in (root / "blobs").rglob("*") if path.is_file()]
    message = (
        f"{root} can be written, schema {index.SCHEMA_VERSION}, {wording.count(len(sizes), 'file')}, {wording.size(sum(sizes))}"
    )
    yield Symptom(area="store", level=Level.GOOD, message=message)


def _runs(runs: Path) -> Iterator[Symptom]:
    with history.opened(runs) as known:
        entries = known.runs()
    yield Symptom(area="runs", level=Level.GOOD, message=f"{wording.count(len(entries), 'run')} in {runs}")
    for entry in entries:
        if entry.problem:
            yield Symptom(area="runs", level=Level.NOTE, message=entry.problem, next="it is left out of the history")
    try:
        accepted = baseline.read(runs)
    except EnvironmentRefusedError as error:
        yield Symptom(area="runs", level=Level.PROBLEM, message=str(error), next="runs end with exit code 3 until then")
    else:
        cells = wording.count(len(accepted.cells), "cell")
        wish = "" if accepted.cells else "python -m orchestrator accept RUN makes a run the one to compare with"
        yield Symptom(area="runs", level=Level.GOOD, message=f"{cells} in the baseline", next=wish)
