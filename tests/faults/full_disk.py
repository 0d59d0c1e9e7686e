"""Real runs on a real disk that is too small: one clear error, nothing partial, nothing left; with room it goes on to the end.

`python -m tests.faults.full_disk [TIMES]` prints the row; with `inside FOLDER` it works on a small disk that is mounted there.
Runs and store are on that disk; temporary files are not: what a cell does to their disk, `isolation` tries.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator import layout
from orchestrator.audit import audit_run
from orchestrator.folder import rebuild
from orchestrator.report.summary import outcomes
from orchestrator.result import Status
from orchestrator.store import ledger
from orchestrator.store.audit import Tally, audit_store
from orchestrator.store.disk import left_behind
from orchestrator.store.ledger import RunFinished, RunStatus
from tests.faults import small_disk
from tests.faults.compare import comparable, different_rows
from tests.faults.real_run import ROOT, RealRun, report, run_folder
from tests.faults.row import Row, show

DISK_BYTES = 32 << 20
ENDS = {3: "the run was refused", 1: "cells ended as infra_error", 0: "there was room"}
"""By exit code, how a run on too small a disk may end."""


def campaign(times: int = 6) -> Row:
    """So many disks with room for a part of a run, from hardly any to nearly all."""
    what = "a real small tmpfs that runs full in the middle of a run, then room, and resume"
    reach = "one clear error, nothing partial, nothing left, the end as if nothing had been"
    if not small_disk.available():
        return Row(what, reach, "not tried: this machine lets nobody mount a tmpfs of his own")
    with tempfile.TemporaryDirectory(prefix="f-", ignore_cleanup_errors=True) as name:
        disk = Path(name) / "disk"
        disk.mkdir()
        inside = [sys.executable, "-m", "tests.faults.full_disk", "inside", name, str(times)]
        command = small_disk.on_small_disk(disk, DISK_BYTES, inside)
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    counts, violations = json.loads(done.stdout)
    ends = ", ".join(f"{ENDS[int(code)]} {count}" for code, count in counts.items())
    return Row(what, reach, f"{times} disks ({ends}): {len(violations)} violations", tuple(violations))


def inside(folder: Path, times: int) -> tuple[Counter[int], list[str]]:
    """With the small disk mounted below the folder.

    Returns:
        How many runs ended with which exit code, and the violations.
    """
    disk, before = folder / "disk", _free(folder)
    whole = RealRun(folder / "disk" / "whole", **_elsewhere(folder))
    code, said = whole.end()
    assert code == 0, said
    wanted, taken = comparable(report(whole.folder)), before - _free(folder)
    shutil.rmtree(whole.folder)
    counts, violations = Counter[int](), []
    for number in range(times):
        trial = _Trial(disk / str(number), folder, wanted)
        violations += (f"disk {number}: {violation}" for violation in trial.violations(taken * (2 * number + 1) // (2 * times)))
        counts[trial.code] += 1
        shutil.rmtree(trial.folder)
    return counts, violations


class _Trial:
    """A run for which there is not enough room, and what became of it."""

    def __init__(self, folder: Path, outside: Path, wanted: Mapping[str, Any]) -> None:
        folder.mkdir()
        self.folder, self._outside, self._wanted = folder, outside, wanted
        self.code = 0

    def violations(self, room: int) -> Iterator[str]:
        """Run with so many bytes of room, make room, go on to the end; tell what was promised and is not so."""
        ballast = self.folder / "ballast"
        with ballast.open("wb") as file:
            file.write(bytes(max(0, _free(self._outside) - room)))
        yield from self._refused()
        ballast.unlink()
        yield from self._goes_on()

    def _refused(self) -> Iterator[str]:
        run = self._start()
        self.code, said = run.end()
        if self.code not in ENDS or "Traceback" in said:
            yield f"ended with {self.code}: {said}"
        if self.code == 3 and (said.count("\n") != 1 or not said.startswith("The disk is full: ")):
            yield f"no clear line: {said!r}"
        yield from self._not_whole(run)
        if self.code == 1:
            yield from (
                f"{result.cell} ended as {result.status}: {result.reason}" for result in self._results() if _is_odd(result)
            )

    def _goes_on(self) -> Iterator[str]:
        """Resumed, or begun again if it came to nothing; if only the reports were missing, `report` writes them."""
        if self._finished():
            rebuild(run_folder(self.folder))
            yield from self._wrong_at_the_end()
            return
        resumed = [str(run_folder(self.folder))] if self.code == 3 and self._results() else []
        run = self._start(*resumed)
        code, said = run.end()
        if code:
            yield f"with room it ended with {code}: {said}"
            return
        yield from self._wrong_at_the_end()
        yield from self._not_whole(run)

    def _wrong_at_the_end(self) -> Iterator[str]:
        yield from different_rows(comparable(report(self.folder)), self._wanted)
        yield from (f"audit: {problem}" for problem in audit_run(run_folder(self.folder), Tally()))

    def _finished(self) -> bool:
        """Whether its end is on record."""
        path = run_folder(self.folder) / layout.LEDGER
        records = ledger.read(path) if path.exists() else []
        return bool(records) and isinstance(records[-1], RunFinished) and records[-1].status is RunStatus.FINISHED

    def _start(self, *resumed: str) -> RealRun:
        return RealRun(self.folder, *resumed, **_elsewhere(self._outside))

    def _results(self) -> list[Any]:
        path = run_folder(self.folder) / layout.LEDGER
        return [*outcomes(ledger.read(path)).values()] if path.exists() else []

    def _not_whole(self, run: RealRun) -> Iterator[str]:
        """Half files, damaged ones, processes and temporary files that are left."""
        yield from (f"half a file is left: {path.name}" for path in left_behind(self.folder))
        if (self.folder / "store").exists():
            yield from (f"audit: {problem}" for problem in audit_store(self.folder / "store", Tally()))
        yield from (f"left running: {process}" for process in run.left())
        yield from (f"left: {path.name}" for path in (self._outside / "t").iterdir())


def _is_odd(result: Any) -> bool:
    full = result.status is Status.INFRA_ERROR and result.error is not None and result.error.kind == "disk_full"
    return result.status is not Status.PASSED and not full


def _elsewhere(outside: Path) -> dict[str, str]:
    """Temporary files and journal, on a disk that is large enough; a short path, for Ray's sockets."""
    (outside / "t").mkdir(exist_ok=True)
    return {"TMPDIR": str(outside / "t"), "JOURNAL": str(outside / "journal")}


def _free(outside: Path) -> int:
    return shutil.disk_usage(outside / "disk").free


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["inside"]:
        sys.stdout.write(json.dumps(inside(Path(arguments[1]), int(arguments[2]))))
        return 0
    return show(campaign(*map(int, arguments)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
