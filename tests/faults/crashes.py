"""Power cuts: what a run wrote is recorded, and many states that a crash can leave of it are made and looked at.

A file keeps what was synced; later writes of it may be lost, torn, turned into zeros or stale bytes, each by itself. A name
keeps what the sync of its folder made durable; later names may be lost, each by itself. Not simulated: a disk that lies about
a sync. Not recorded: removals, so a removed file may be there again.
"""

from __future__ import annotations

import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.audit import audit_run
from orchestrator.errors import EnvironmentRefusedError, StorageError
from orchestrator.folder import rebuild
from orchestrator.result import CellFinished
from orchestrator.store import ledger
from orchestrator.store.audit import Tally
from orchestrator.store.blobs import BlobStore
from orchestrator.store.disk import Disk
from orchestrator.store.index import Index
from tests.faults import night
from tests.faults.disks import Unsynced, installed, small_steps
from tests.faults.row import Row, show

STATES = 3000
SEED = 20260102
STAND = re.compile(r"(\d+) records stand")


@dataclass(frozen=True, slots=True)
class Created:
    file: int
    path: Path


@dataclass(frozen=True, slots=True)
class Written:
    file: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Synced:
    file: int


@dataclass(frozen=True, slots=True)
class Renamed:
    source: Path
    destination: Path


@dataclass(frozen=True, slots=True)
class FolderSynced:
    folder: Path
    children: frozenset[Path]
    """The folders in it, which no other call tells of."""


@dataclass(frozen=True, slots=True)
class Promised:
    """From here on it has to be there, whatever happens."""

    kind: str
    name: str


Step = Created | Written | Synced | Renamed | FolderSynced | Promised


class Recorder(Disk):
    """Notes what is written, in order; for one process, whose descriptors are not handed on."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._files: dict[Path, int] = {}

    def create(self, path: Path, mode: int = 0o666) -> int:
        self._files[path] = len(self.steps)
        self.steps.append(Created(len(self.steps), path))
        return super().create(path, mode)

    def write(self, descriptor: int, data: memoryview) -> int:
        self.steps.append(Written(self._file(descriptor), bytes(data)))
        return super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self.steps.append(Synced(self._file(descriptor)))

    def rename(self, source: Path, destination: Path) -> None:
        # A link holds nothing and can always be made again.
        if not source.is_symlink():
            self.steps.append(Renamed(source, destination))
            self._files[destination] = self._files.pop(source)
        super().rename(source, destination)

    def sync_folder(self, folder: Path) -> None:
        self.steps.append(FolderSynced(folder, frozenset(path for path in folder.iterdir() if path.is_dir())))

    def promise(self, kind: str, name: str) -> None:
        self.steps.append(Promised(kind, name))

    def _file(self, descriptor: int) -> int:
        return self._files[Path(f"/proc/self/fd/{descriptor}").readlink()]


@dataclass(slots=True)
class Crash:
    """What a device holds at some moment: for certain, and what may have reached it."""

    durable: dict[int, bytes] = field(default_factory=dict)
    """What of each file is synced."""
    late: dict[int, list[bytes]] = field(default_factory=dict)
    """What was written to it since."""
    names: dict[Path, int] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)
    late_names: list[tuple[Path, int | None]] = field(default_factory=list)
    """Names that came, or with None went, since their folders were synced."""
    promised: list[Promised] = field(default_factory=list)

    def take(self, step: Step) -> None:
        """Let one more step happen before the crash."""
        match step:
            case Created(file, path):
                self.durable[file], self.late[file] = b"", []
                self.late_names.append((path, file))
            case Written(file, data):
                self.late[file].append(data)
            case Synced(file):
                self.durable[file] += b"".join(self.late[file])
                self.late[file] = []
            case Renamed(source, destination):
                self.late_names += [(destination, self._file(source)), (source, None)]
            case FolderSynced(folder, children):
                self._sync_folder(folder, children)
            case Promised():
                self.promised.append(step)

    def _file(self, path: Path) -> int:
        file = next((file for name, file in reversed(self.late_names) if name == path), self.names.get(path))
        assert file is not None, path
        return file

    def _sync_folder(self, folder: Path, children: frozenset[Path]) -> None:
        self.folders |= children
        for path, file in (late for late in self.late_names if late[0].parent == folder):
            self._settle(self.names, path, file)
        self.late_names = [late for late in self.late_names if late[0].parent != folder]

    def left(self, chance: random.Random, keeps: float) -> dict[Path, bytes]:
        """The files after the crash, each late thing kept with that probability.

        Args:
            chance: Decides what else is kept.
            keeps: 1 keeps all that happened, 0 only what is synced.
        """
        names = dict(self.names)
        for path, file in self.late_names:
            if chance.random() < keeps:
                self._settle(names, path, file)
        lost: dict[Path, bool] = {}
        contents = {file: self._content(file, chance, keeps) for file in set(names.values())}
        return {path: contents[file] for path, file in names.items() if not self._lost(path.parent, chance, keeps, lost)}

    def _lost(self, folder: Path, chance: random.Random, keeps: float, lost: dict[Path, bool]) -> bool:
        """Whether a folder, or one above it, never reached the device."""
        if folder == folder.parent:
            return False
        if folder not in lost:
            lost[folder] = folder not in self.folders and chance.random() >= keeps
        return lost[folder] or self._lost(folder.parent, chance, keeps, lost)

    def _content(self, file: int, chance: random.Random, keeps: float) -> bytes:
        late = [data if chance.random() < keeps else _worn(data, chance) for data in self.late[file]]
        data = b"".join(late)
        # Its length is written by itself: what is beyond it is lost, whatever of it was written.
        return self.durable[file] + (data if chance.random() < keeps else data[: chance.randint(0, len(data))])

    @staticmethod
    def _settle(names: dict[Path, int], path: Path, file: int | None) -> None:
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file


def _worn(data: bytes, chance: random.Random) -> bytes:
    """A write of which not everything came: torn, or not there at all; in its place zeros or what was there before."""
    whole = chance.choice((0, chance.randint(0, len(data))))
    rest = len(data) - whole
    return data[:whole] + (bytes(rest) if chance.random() < 0.7 else chance.randbytes(rest))


def record(root: Path) -> list[Step]:
    """What a run writes whose driver is killed after a cell, and that goes on."""
    recorder = Recorder()
    with installed(recorder), small_steps(group=3):
        night.run(root, recorder.promise, stop_after=1)
        night.run(root, recorder.promise)
    return recorder.steps


def seeded(seed: int) -> random.Random:
    """Chance that can be repeated."""
    return random.Random(seed)  # noqa: S311


def campaign(states: int = STATES, seed: int = SEED) -> Row:
    """Make crash states and look at each."""
    violations: list[str] = []
    seen: Counter[str] = Counter()
    # The plan holds absolute paths: each state is made where the recorded run was.
    with tempfile.TemporaryDirectory() as folder, small_steps():
        root = Path(folder).resolve() / "root"
        root.mkdir()
        steps = record(root)
        chance = seeded(seed)
        with installed(Unsynced()):
            for number in range(states):
                violations += [f"crash state {number}: {wrong}" for wrong in _tried(root, steps, chance, seen)]
    told = f"{seen['rebuilt']} runs rebuilt, {seen['refused']} damaged ledgers refused, {seen['not begun']} not yet begun"
    measured = f"{states} states of {len(steps)} steps (seed {seed}; {told}): {len(violations)} violations"
    return Row("simulated crash states of the recorded writes", "≥ 2,000, 0 wrong bytes served", measured, tuple(violations))


def _tried(root: Path, steps: Sequence[Step], chance: random.Random, seen: Counter[str]) -> Iterator[str]:
    at, keeps = chance.randint(0, len(steps)), chance.choice((1, 0, 0.5, 0.9, 0.1))
    crash = Crash(folders={root, *root.parents})
    for step in steps[:at]:
        crash.take(step)
    shutil.rmtree(root)
    root.mkdir()
    _make(root, crash.left(chance, keeps))
    for wrong in (*_broken_promises(root, crash), *_wrongs(root), *_lost_records(crash), *_goes_on(root, seen)):
        yield f"after {at} steps, {keeps} kept: {wrong}"


def _wrongs(root: Path) -> Iterator[str]:
    """What is derived is not looked at: it is not synced, a power cut may tear it until it is written again."""
    yield from night.wrong_blobs(root)
    yield from night.wrong_entries(root)
    yield from night.wrong_records(root)


def _make(root: Path, files: Mapping[Path, bytes]) -> None:
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for name in ("store", "runs"):
        (root / name).mkdir(exist_ok=True)


def _broken_promises(root: Path, crash: Crash) -> Iterator[str]:
    index, store = Index(root / "store"), BlobStore(root / "store")
    for kind, name in {(promised.kind, promised.name) for promised in crash.promised}:
        match kind:
            case "blob":
                kept = _served(store, name, root / "copy")
            case "export":
                kept = index.exported(night.KEYS[name]) == night.result(name)
            case "verify":
                kept = index.verdict(night.KEYS[name]) == night.result(name)
            case _:
                kept = index.last(name) == night.parts(name)
        if not kept:
            yield f"{kind} {name} was promised and is lost"


def _served(store: BlobStore, sha256: str, copy: Path) -> bool:
    try:
        store.get(sha256, copy)
    except StorageError:
        return False
    copy.unlink()
    return True


def _lost_records(crash: Crash) -> Iterator[str]:
    """What was synced of a ledger is there, or is counted among what stands."""
    for path, file in crash.names.items():
        if path.name == "ledger.jsonl" and path.parent in crash.folders:
            synced = crash.durable[file].count(b"\n")
            try:
                stand = len(ledger.read(path))
            except EnvironmentRefusedError as error:
                told = STAND.search(str(error))
                stand = int(told[1]) if told else -1
            if stand < synced:
                yield f"{synced} records were synced, {stand} stand"


def _goes_on(root: Path, seen: Counter[str]) -> Iterator[str]:
    """The same command again; in a folder with a damaged ledger it is refused, and a new run does it all."""
    begun = night.runs(root)
    try:
        records = ledger.read(begun[-1] / "ledger.jsonl") if begun else []
        if any(isinstance(entry, CellFinished) for entry in records):
            # Blobs are durable before a record tells of them.
            rebuild(begun[-1])
            found = audit_run(begun[-1], Tally())
            # What was placed for a cell that is not on record stays: it is done again.
            yield from (f"rebuilt, {problem}" for problem in found if problem.kind != "extra")
            seen["rebuilt"] += 1
        else:
            seen["not begun"] += 1
    except EnvironmentRefusedError as error:
        if "is damaged: " not in str(error):
            yield f"cannot be rebuilt: {error}"
        shutil.rmtree(begun[-1])
        seen["refused"] += 1
    try:
        night.run(root)
        yield from night.lacks(root)
    except EnvironmentRefusedError as error:
        yield f"does not go on: {error!r}"


if __name__ == "__main__":
    sys.exit(show(campaign()))
