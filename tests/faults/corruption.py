"""Bytes that changed by themselves, in every kind of file that a run and its store consist of: told, never served, made anew.

A change of a byte under .hydra/ is not told: these texts say how a plan came about, and nothing is decided by them.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from orchestrator.audit import audit_run
from orchestrator.errors import EnvironmentRefusedError
from orchestrator.folder import rebuild
from orchestrator.report.summary import outcomes
from orchestrator.store import ledger
from orchestrator.store.audit import Tally, audit_store
from orchestrator.store.index import prepare
from tests.faults import night
from tests.faults.disks import Unsynced, installed
from tests.faults.row import Row, show

FLIPS = 40
"""Bits of each file that are flipped, one a try, evenly from its first byte to its last; of a shorter file all bytes."""


def _is_artifact(path: Path) -> bool:
    return "artifacts" in path.parts and path.suffix in (".onnx", ".data", ".pb")


KINDS: dict[str, Callable[[Path], bool]] = {
    "blob": lambda path: "blobs" in path.parts,
    "index entry of an export": lambda path: "index/export" in path.as_posix(),
    "index entry of a verdict": lambda path: "index/verify" in path.as_posix(),
    "index entry of a cell": lambda path: "index/cells" in path.as_posix(),
    "store.json": lambda path: path.name == "store.json",
    "plan.json": lambda path: path.name == "plan.json",
    "ledger": lambda path: path.name == "ledger.jsonl",
    "delivered artifact": _is_artifact,
    "SHA256SUMS": lambda path: path.name == "SHA256SUMS",
    "statement": lambda path: path.name.endswith(".intoto.jsonl"),
    "report.json": lambda path: path.name == "report.json",
    "report.md": lambda path: path.name == "report.md",
    "report.html": lambda path: path.name == "report.html",
    "verdict.json": lambda path: path.name == "verdict.json",
    "repro.py": lambda path: path.name == "repro.py",
    "log": lambda path: path.suffix == ".log",
}
TRUTH = ("plan.json", "ledger", "store.json")
"""Cannot be made from anything else: told, and restored from a copy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """A change of a file's bytes."""

    kind: str
    name: str
    how: str
    data: bytes

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.how}"


class Made:
    """A run that came to its end, in a folder with its store, and what it looked like."""

    def __init__(self, root: Path) -> None:
        self.root = root
        night.run(root)
        self.files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if _is_plain(path)}

    def damages(self, flips: int) -> Iterator[Damage]:
        """What is done to each file of each kind."""
        for kind, is_kind in KINDS.items():
            names = sorted(name for name in self.files if is_kind(Path(name)))
            assert names, kind
            for name in names:
                other = next((self.files[each] for each in names if self.files[each] != self.files[name]), None)
                for how, data in _damaged(self.files[name], other, flips):
                    yield Damage(kind=kind, name=name, how=how, data=data)

    def restore(self) -> None:
        """Make everything as it was."""
        for path in [path for path in self.root.rglob("*") if _is_plain(path)]:
            name = path.relative_to(self.root).as_posix()
            if name not in self.files:
                path.unlink()
        for name, data in self.files.items():
            if not (self.root / name).exists() or (self.root / name).read_bytes() != data:
                (self.root / name).unlink(missing_ok=True)
                (self.root / name).write_bytes(data)


def campaign(flips: int = FLIPS) -> Row:
    """Every damage of every kind of file."""
    violations: list[str] = []
    count: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, installed(Unsynced()):
        made = Made(Path(folder))
        for damage in made.damages(flips):
            count[damage.how.split()[0]] += 1
            violations += [f"{damage}: {wrong}" for wrong in tried(made, damage)]
    told = ", ".join(f"{number} {how}" for how, number in count.items())
    measured = f"{count.total()} damages of {len(KINDS)} kinds of file ({told}): {len(violations)} violations"
    reach = "all detected, none served, rebuilt on the next run"
    return Row("corruption (flip, truncate, swap) in each kind of file", reach, measured, tuple(violations))


def tried(made: Made, damage: Damage) -> Iterator[str]:
    """The promises that were broken by a damage; afterwards all is as it was."""
    path = made.root / damage.name
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(damage.data)
    path.chmod(mode)
    yield from _served(made)
    path.unlink(missing_ok=True)
    path.write_bytes(damage.data)
    if not _is_told(made):
        yield "was not told"
    yield from _made_anew(made, damage)
    made.restore()


def _served(made: Made) -> Iterator[str]:
    """What is handed out by store, index and ledger; what sees a damage sets it aside."""
    yield from night.wrong_blobs(made.root)
    yield from night.wrong_entries(made.root)
    try:
        records = ledger.read(night.runs(made.root)[-1] / "ledger.jsonl")
    except (EnvironmentRefusedError, IndexError):
        return
    served = [*outcomes(records).values()]
    if served != [night.result(cell) for cell in night.CELLS][: len(served)]:
        yield "the ledger served another outcome"


def _is_told(made: Made) -> bool:
    """Whether an audit of the run and of the store tells something."""
    try:
        found = [*audit_run(_folder(made), Tally()), *audit_store(made.root / "store", Tally())]
    except EnvironmentRefusedError:
        return True
    return bool(found)


def _made_anew(made: Made, damage: Damage) -> Iterator[str]:
    """After `report` and the next run everything is whole; what nothing can be made from is refused with a message."""
    try:
        prepare(made.root / "store")
        rebuild(_folder(made))
        night.put_blobs(made.root)
        for cell in night.CELLS:
            night.remember(made.root, cell)
    except EnvironmentRefusedError as error:
        if damage.kind not in TRUTH:
            yield f"was not made anew: {error}"
        return
    if damage.kind not in TRUTH:
        yield from night.lacks(made.root)


def _damaged(data: bytes, other: bytes | None, flips: int) -> Iterator[tuple[str, bytes]]:
    for number, at in enumerate(sorted({number * (len(data) - 1) // (flips - 1) for number in range(flips)})):
        bit = 1 << number % 8
        yield f"flip of bit {number % 8} at {at}", data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
    for length in sorted({0, 1, len(data) // 2, len(data) - 1}):
        yield f"truncation to {length}", data[:length]
    unlike = (at for at in range(len(data) // 2) if data[at] != data[-1 - at])
    for at in islice(unlike, 1):
        yield f"swap of two bytes, {at} from the ends", _with_two_swapped(data, at)
    if other is not None:
        yield "swap with another file of its kind", other


def _with_two_swapped(data: bytes, at: int) -> bytes:
    swapped = bytearray(data)
    swapped[at], swapped[-1 - at] = swapped[-1 - at], swapped[at]
    return bytes(swapped)


def _folder(made: Made) -> Path:
    return next(path for path in (made.root / "runs").glob("2*"))


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and "latest" not in path.parts


if __name__ == "__main__":
    sys.exit(show(campaign()))
