"""`python -m tests.faults.kills [KILLS [SEED]]` kills processes of runs with SIGKILL, each at a random instant.

A run whose driver was killed is resumed, perhaps killed again, until it reaches its end; then it is compared with an
undisturbed one. A child that was killed is, by design, its cells' crash: there the same command is given again, as a user
would. Lost power is not covered.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import psutil

from orchestrator import layout, runs
from orchestrator.audit import audit_run
from orchestrator.folder import rebuild
from orchestrator.report.summary import outcomes
from orchestrator.result import CellFinished, Origin, Status
from orchestrator.store import ledger
from orchestrator.store.audit import Tally, audit_store
from orchestrator.store.ledger import Record, RunFinished, RunStatus
from tests.faults import fleet
from tests.faults.compare import comparable, different_rows, not_exported
from tests.faults.row import Row, show
from tests.misbehaving.family import PATIENCE_SECONDS, living

ROOT = Path(__file__).parents[2]
VICTIMS = ("driver", "supervisor", "driver", "child", "driver", "fork server")
"""In turn."""
START_SECONDS = 6.0
"""From the start of a driver until cells are worked on, about; nothing depends on it but where kills fall."""
CELL_SECONDS = 0.15
"""From one cell on record to the next, at most."""
WHILE_IT_STARTS = 1 / 5
"""Of the kills come before a further cell is on record."""
AGAIN = 1 / 3
"""Of the resumed runs are killed as well."""
LONGEST_SECONDS = 180.0
"""A run that takes longer hangs."""
RAYS_OWN = (
    "ray::DashboardAgent",
    "ray::RuntimeEnvAgent",
    "dashboard/agent.py",
    "runtime_env/agent/main.py",
    "workers/default_worker.py",
)
"""Two agents, before and after they name themselves: once a minute they look for their daemon. A worker that was about to start
when its daemon died, with nothing of ours in it yet: it goes after 25 s. Here they are ended after each run."""


def campaign(kills: int = 50, seed: int = 0) -> Row:
    """Kill so often, over as many runs as that takes.

    Args:
        kills: How many.
        seed: Of the instants.
    """
    random = Random(seed)  # noqa: S311
    seen = _Seen()
    victims = itertools.cycle(VICTIMS)
    # Short, for Ray's sockets.
    with tempfile.TemporaryDirectory(prefix="k-", ignore_cleanup_errors=True) as root:
        wanted = _undisturbed(Path(root) / "0", random)
        # A kill that came too late is none; it does not happen twice in a row for ever.
        for number in range(1, 3 * kills):
            trial = _Trial(Path(root) / str(number), wanted, random)
            trial.go_to_the_end(victims, most=kills - seen.kills)
            seen.take(trial, number)
            if seen.kills == kills:
                break
    return seen.row()


@dataclass
class _Seen:
    """Of all trials."""

    trials: int = 0
    equal: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.killed.total()

    def take(self, trial: _Trial, number: int) -> None:
        violations = list(trial.violations())
        self.violations += (f"run {number}, killed {', '.join(trial.killed)}: {violation}" for violation in violations)
        self.trials += bool(trial.killed)
        self.equal += bool(trial.killed) and not violations
        self.killed.update(trial.killed)
        self.counts += trial.counts

    def row(self) -> Row:
        count = self.counts
        return Row(
            what="kills of driver, supervisors and children at random instants, resume, compare with the undisturbed report",
            reach="≥ 50, all equal, 0 finished cells redone",
            measured=f"{self.kills} kills ({', '.join(f'{name} {n}' for name, n in self.killed.most_common())}) of "
            f"{self.trials} runs, {self.equal} equal; {count['redone']} of {count['recorded']} cells on record redone; "
            f"{count['unrecorded']} done and not yet on record were done again, {count['cache']} came from the cache; "
            f"{count['crashed']} cells of a killed child ended as crashed and passed the next time",
            violations=tuple(self.violations),
        )


class _Trial:
    """A run that is killed once or more often, and what was on record when it was."""

    def __init__(self, folder: Path, wanted: Mapping[str, Any], random: Random) -> None:
        folder.mkdir(parents=True)
        self.killed: list[str] = []
        self.counts: Counter[str] = Counter()
        self._folder, self._wanted, self._random = folder, wanted, random
        self._snapshots: list[tuple[list[Record], int]] = []
        """At each kill the ledger, and how many lines the journal had."""
        self._family: set[psutil.Process] = set()
        self._troubles: list[str] = []

    def go_to_the_end(self, victims: Iterator[str | None], *, most: int) -> None:
        """Start the run, kill at most so often, and resume it as long as it has no end."""
        self._start_and_kill(next(victims))
        while not self._ended() and not self._troubles:
            again = len(self.killed) < most and self._random.random() < AGAIN
            self._start_and_kill(next(victims) if again else None)

    def violations(self) -> Iterator[str]:
        """What was promised and is not so; makes the counts."""
        if not self._troubles:
            self._write_missing_report()
            crashed = self._crashed()
            yield from self._differences(crashed)
            yield from self._redone()
            yield from self._damage()
            if crashed:
                yield from self._differences_of_the_next(crashed)
        yield from self._troubles
        yield from self._left_running()

    @property
    def run(self) -> Path | None:
        """The folder of the run that has begun; one whose driver was killed before that has an empty ledger, or none."""
        folders = runs.newest_first(self._folder / "runs") if (self._folder / "runs").is_dir() else []
        begun = (path for path in folders if (path / layout.LEDGER).is_file() and ledger.read(path / layout.LEDGER))
        return next(begun, None)

    def told(self) -> dict[str, Any]:
        """What the report says, whatever was killed."""
        return comparable(self._report())

    def _path(self) -> Path:
        path = self.run
        assert path, self._last_words()
        return path

    def _records(self) -> list[Record]:
        return ledger.read(self.run / layout.LEDGER) if self.run else []

    def _report(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode((self._path() / layout.REPORT_JSON).read_bytes())
        return found

    def _journal(self) -> list[str]:
        journal = self._folder / "journal"
        return journal.read_text().splitlines() if journal.exists() else []

    def _ended(self) -> bool:
        records = self._records()
        return bool(records) and isinstance(records[-1], RunFinished) and records[-1].status is RunStatus.FINISHED

    def _start_and_kill(self, victim: str | None, *, again: bool = False) -> None:
        """One driver from its start to its end."""
        environment = {**os.environ, "TMPDIR": str(self._folder), "JOURNAL": str(self._folder / "journal")}
        arguments = [sys.executable, "-m", "tests.faults.fleet", str(self._folder)]
        if self.run and not again:
            arguments.append(str(self.run))
        with (self._folder / "output").open("ab") as output:
            process = psutil.Popen(arguments, cwd=ROOT, env=environment, stdout=output, stderr=output)
            if victim is not None:
                self._kill(process, victim)
            self._see_the_end(process)

    def _see_the_end(self, process: psutil.Popen) -> None:
        try:
            code = process.wait(LONGEST_SECONDS)
        except psutil.TimeoutExpired:
            self._family.update(process.children(recursive=True))
            process.kill()
            process.wait()
            self._troubles.append(f"the run hangs: {self._last_words()}")
            return
        if code == -signal.SIGKILL:
            self.killed.append("driver")
            self._snapshot()
        elif code not in (0, 1):
            self._troubles.append(f"the driver ended with {code}: {self._last_words()}")

    def _last_words(self) -> str:
        return (self._folder / "output").read_text(errors="replace")[-2000:]

    def _kill(self, process: psutil.Popen, victim: str) -> None:
        """Kill, unless the run is faster, at a random instant: while it starts, or after some number of cells is on record."""
        done = len(outcomes(self._records()))
        starts = done == fleet.CELLS or self._random.random() < WHILE_IT_STARTS
        cells = done if starts else self._random.randint(done + 1, fleet.CELLS)
        pause = self._random.random() * (START_SECONDS if starts else CELL_SECONDS)
        while process.poll() is None and len(outcomes(self._records())) < cells:
            time.sleep(0.005)
        time.sleep(pause)
        while process.poll() is None:
            if targets := self._targets(process, victim):
                self._snapshot()
                with suppress(psutil.NoSuchProcess):
                    self._random.choice(targets).kill()
                    # Whether it was still a driver that was killed, its exit code says.
                    self.killed += [victim] if victim != "driver" else []
                    return
            time.sleep(0.002)

    def _snapshot(self) -> None:
        records = self._records()
        self._snapshots.append((records, len(self._journal())))

    def _targets(self, driver: psutil.Process, victim: str) -> list[psutil.Process]:
        """The processes of the run that are such a victim."""
        with suppress(psutil.NoSuchProcess):
            family = driver.children(recursive=True)
            self._family |= {driver, *family}
            match victim:
                case "driver":
                    return [driver]
                case "supervisor":
                    return [process for process in family if "ray::Supervisor" in " ".join(process.cmdline())]
                case _:
                    servers = [one for one in driver.children() if "orchestrator.forkserver" in " ".join(one.cmdline())]
                    return servers if victim == "fork server" else [one for server in servers for one in server.children()]
        return []

    def _write_missing_report(self) -> None:
        """A driver that was killed when the end was on record had perhaps not written it; resume has nothing to do there."""
        if any(before and isinstance(before[-1], RunFinished) for before, _ in self._snapshots):
            rebuild(self._path())

    def _crashed(self) -> list[str]:
        """The cells that a killed child was at; no other victim makes any."""
        cells = self._report()["cells"]
        crashed = [cell["id"] for cell in cells if cell["error"] and cell["error"]["kind"] == "signal"]
        self.counts["crashed"] += len(crashed)
        return crashed if "child" in self.killed else []

    def _differences(self, crashed: Sequence[str]) -> Iterator[str]:
        report, wanted = self.told(), self._wanted
        self.counts["cache"] += sum(cell["origin"] == Origin.CACHE for cell in self._report()["cells"])
        yield from different_rows(report, wanted, crashed)
        if not crashed and (report["run"], report["counts"]) != (wanted["run"], wanted["counts"]):
            yield f"the run as a whole: {report['run']} {report['counts']}"

    def _differences_of_the_next(self, crashed: Sequence[str]) -> Iterator[str]:
        """The same command once more: what crashed is done, and nothing else."""
        lines = len(self._journal())
        self._start_and_kill(None, again=True)
        report = self.told()
        cached = [row["id"] for row in self._wanted["cells"] if row["id"] not in crashed]
        yield from different_rows(not_exported(report, cached), not_exported(self._wanted, cached), ())
        if (begun := _cells(self._journal()[lines:], fleet.BEGUN)) != {*crashed}:
            yield f"the next run did {sorted(begun)} and not {sorted(crashed)}"
        yield from self._damage()

    def _redone(self) -> Iterator[str]:
        """Cells that had an outcome on record and got another one later, or were begun again."""
        records, journal = self._records(), self._journal()
        unrecorded: set[str] = set()
        recorded: set[str] = set()
        for before, lines in self._snapshots:
            if records[: len(before)] != before:
                yield "what was on record at a kill is not there any more"
            kept = {cell for cell, result in outcomes(before).items() if result.status is not Status.INFRA_ERROR}
            later = {record.result.cell for record in records[len(before) :] if isinstance(record, CellFinished)}
            begun = _cells(journal[lines:], fleet.BEGUN)
            yield from (f"{cell} was on record and done again" for cell in sorted(kept & (later | begun)))
            self.counts["redone"] += len(kept & (later | begun))
            unrecorded |= _cells(journal[:lines], fleet.DONE) & begun - kept
            recorded |= kept
        self.counts["unrecorded"] += len(unrecorded)
        self.counts["recorded"] += len(recorded)

    def _damage(self) -> Iterator[str]:
        for problem in (*audit_run(self._path(), Tally()), *audit_store(self._folder / "store", Tally())):
            yield f"audit: {problem.kind} {problem.path}: {problem.message}"

    def _left_running(self) -> Iterator[str]:
        """Who is still there some seconds later; nobody stays for the next trial."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (left := [one for one in self._living() if not _is_rays_own(one)]) and time.monotonic() < deadline:
            time.sleep(0.1)
        yield from (f"left running: {_command(process)[:200]}" for process in left)
        for process in self._living():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _living(self) -> list[psutil.Process]:
        """Of those that were seen below a driver, and those that have the trial's folder in their command."""
        mine = (process for process in psutil.process_iter() if f"{self._folder}/" in _command(process))
        return living({*self._family, *mine})


def _undisturbed(folder: Path, random: Random) -> Mapping[str, Any]:
    """What the report of a run says that nobody kills."""
    trial = _Trial(folder, {}, random)
    trial.go_to_the_end(itertools.repeat(None), most=0)
    report = trial.told()
    assert report["counts"][Status.PASSED] == fleet.CELLS, report["counts"]
    return report


def _cells(journal: Sequence[str], what: str) -> set[str]:
    return {cell for happened, _, cell in (line.partition(" ") for line in journal) if happened == what}


def _is_rays_own(process: psutil.Process) -> bool:
    return any(name in _command(process) for name in RAYS_OWN)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


if __name__ == "__main__":
    sys.exit(show(campaign(*map(int, sys.argv[1:]))))
