"""Models that do to their process whatever a model can do, beside good ones in one real run on Ray with a real exporter.

`python -m tests.faults.isolation` prints the row. What one unit does in which stage, tests/test_sandbox.py tries without torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tests.faults import small_disk
from tests.faults.row import Row, show
from tests.misbehaving.family import living, marked, started

ROOT = Path(__file__).parents[2]
MODEL = """
name: {name}
build: {{_target_: tests.misbehaving.models.Misbehaving, deed: {deed}, when: {when}}}
weights: {{seed: {seed}}}
dims: {{batch: {{min: 1, max: 16}}}}
inputs: [{{name: features, shape: [batch, 4], range: [-1, 1]}}]
outputs: [logits]
"""
LIMITS = ("limits.seconds=6", "limits.memory=1GiB", "limits.log=1MB", "cluster.workers=2", "cluster.threads_per_worker=1")
DISK_BYTES = 64 << 20
"""Of the disk with the temporary files; Ray's own take a few of them."""
GOOD = tuple(f"good_{number}" for number in range(10))


class Kind(NamedTuple):
    """A way to misbehave and the end that design.md has for it."""

    when: str
    status: str
    told: str
    """In the error's kind or message, or of a cell that passed a finding's kind."""


KINDS = {
    "segfault": Kind("call", "crashed", "SIGSEGV"),
    "abort": Kind("call", "crashed", "SIGABRT"),
    "get_killed": Kind("call", "crashed", "SIGKILL, not by us"),
    "exit_zero": Kind("call", "crashed", "exit code 0"),
    "exit_seven": Kind("call", "crashed", "exit code 7"),
    "sys_exit": Kind("call", "crashed", "exit code 3"),
    "flood": Kind("call", "crashed", "log_limit"),
    "sleep_in_native_code": Kind("call", "timeout", "deadline"),
    "fill_the_disk": Kind("call", "infra_error", "disk_full"),
    "sleep": Kind("call", "timeout", "deadline"),
    "close_everything": Kind("call", "timeout", "deadline"),
    "allocate": Kind("call", "oom", "memory"),
    "allocate_in_a_child": Kind("call", "oom", "memory"),
    "raise_error": Kind("call", "export_failed", "on purpose"),
    "leave_a_thread": Kind("build", "passed", "stray_process"),
    "leave_a_child": Kind("build", "passed", "stray_process"),
    "leave_a_daemon": Kind("build", "passed", "stray_process"),
    "patch_torch": Kind("build", "passed", "patched_torch"),
}
"""By deed, in the order of the plan: while the disk is full for a moment, the other worker's cell hangs and needs none."""
THEN_LIST = '"$@"; code=$?; ls -A "$TMPDIR" >"$TMPDIR/../left"; exit $code'


def campaign() -> Row:
    """One run of every kind beside ten good models."""
    kinds = {deed: kind for deed, kind in KINDS.items() if deed != "fill_the_disk" or small_disk.available()}
    # Short, for Ray's sockets.
    with tempfile.TemporaryDirectory(prefix="i-") as name:
        folder = Path(name)
        done = _run(folder, kinds)
        violations = [*_wrong(folder, kinds, done), *_left(folder)]
    ends = ", ".join(f"{deed} → {kind.status}" for deed, kind in kinds.items())
    return Row(
        what="misbehaving cells of every kind beside 10 good ones in one run",
        reach="each ends as it should, 10 pass, no process or file left",
        measured=f"{len(kinds)} kinds ({ends}), {len(GOOD)} good: {len(violations)} violations",
        violations=tuple(violations),
    )


def _run(folder: Path, kinds: Mapping[str, Kind]) -> subprocess.CompletedProcess[str]:
    models = [*((name, "nothing", "call") for name in GOOD), *((deed, deed, kind.when) for deed, kind in kinds.items())]
    # Some good ones before, some between, some after.
    models = [*models[:4], *models[10:20], *models[4:7], *models[20:], *models[7:10]]
    configs, disk = folder / "configs" / "model", folder / "t"
    configs.mkdir(parents=True)
    disk.mkdir()
    for seed, (name, deed, when) in enumerate(models):
        (configs / f"{name}.yaml").write_text(MODEL.format(name=name, deed=deed, when=when, seed=seed))
    command = [sys.executable, "-m", "orchestrator", "--config-dir", str(configs.parent), f"hydra.sweep.dir={folder / 'runs'}"]
    command += [f"+model={','.join(name for name, _, _ in models)}", "exporter=torchscript", "verify=quick"]
    command += ["trust=[tests.misbehaving.*]", *LIMITS]
    command = ["sh", "-c", THEN_LIST, "sh", *command]
    if small_disk.available():
        command = small_disk.on_small_disk(disk, DISK_BYTES, command)
    environment = {**os.environ, **marked(folder), "TMPDIR": str(disk)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def _wrong(folder: Path, kinds: Mapping[str, Kind], done: subprocess.CompletedProcess[str]) -> Iterator[str]:
    """What did not end as it should."""
    if done.returncode != 1 or "Traceback" in done.stderr:
        yield f"the run ended with {done.returncode}: {done.stderr[-2000:]}"
        return
    report = json.loads((folder / "runs/latest/report.json").read_bytes())
    cells = {cell["model"]: cell for cell in report["cells"]}
    for name in GOOD:
        yield from _differs(cells.pop(name), Kind("", "passed", ""))
    for deed, kind in kinds.items():
        yield from _differs(cells.pop(deed), kind)
    yield from (f"{name} was not asked for" for name in cells)


def _differs(cell: Mapping[str, Any], kind: Kind) -> Iterator[str]:
    error, findings = cell["error"] or {}, [finding["kind"] for finding in cell["findings"]]
    told = f"{error.get('kind')} {error.get('message')}" if error else " ".join(findings)
    if cell["status"] != kind.status or kind.told not in told or (not kind.told and findings):
        yield f"{cell['id']} ended as {cell['status']} ({told}) and not as {kind.status} ({kind.told})"


def _left(folder: Path) -> Iterator[str]:
    """Processes and temporary files that a run left; a killed process may take a moment."""
    _, alive = psutil.wait_procs(living(started(folder)), timeout=5)
    yield from (f"left running: {process.name()}" for process in alive)
    yield from (f"left in the temporary folder: {name}" for name in (folder / "left").read_text().split())


if __name__ == "__main__":
    sys.exit(show(campaign()))
