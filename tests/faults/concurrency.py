"""Many processes on one store with garbage collection beside them, and two real runs at once: nothing lost, nothing mixed.

`python -m tests.faults.concurrency [ROUNDS [PAIRS]]` prints the row; with `write` or `collect` it is one of the processes.
Each round begins with everything in the store forty days old, so that the collector takes whatever is not used meanwhile.
"""

# ruff: noqa: T201
from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random

from orchestrator.audit import audit_run
from orchestrator.errors import StorageError
from orchestrator.result import CellResult, FileRef
from orchestrator.store import gc
from orchestrator.store.audit import Tally, audit_store
from orchestrator.store.blobs import BlobStore
from orchestrator.store.index import Index, prepare
from tests import synthetic
from tests.faults.compare import comparable, different_rows
from tests.faults.real_run import RealRun, report, run_folder
from tests.faults.row import Row, show

WRITERS = 8
OUTCOMES = 24
"""That there are; two of them each share a blob of weights."""
SHARE = 1 / 12
"""Of the outcomes that a writer wants in a round: of all eight, half of the outcomes."""
DAYS = 40 * 24 * 3600.0
ROOT = Path(__file__).parents[2]


def campaign(rounds: int = 300, pairs: int = 3) -> Row:
    """So many rounds of plain processes, and pairs of runs."""
    count, violations = crowd(rounds)
    for number in range(pairs):
        violations += [f"pair {number}: {violation}" for violation in pair()]
    return Row(
        what=f"{WRITERS} plain processes and garbage collection on one store; two real runs at once, with it",
        reach="nothing lost, nothing mixed",
        measured=f"{rounds} rounds: {count['wanted']} outcomes written or used while {count['removed']} files were removed; "
        f"{pairs} times two runs: {len(violations)} violations",
        violations=tuple(violations),
    )


# Plain processes


def crowd(rounds: int, writers: int = WRITERS) -> tuple[Counter[str], list[str]]:
    """Rounds in which writers and a collector are let go at the same moment.

    Returns:
        Outcomes that were wanted and files that were removed, and what was lost or mixed.
    """
    count, violations = Counter[str](), []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        root = Path(name) / "store"
        prepare(root)
        collector = stack.enter_context(closing(_Process("collect", root)))
        everyone = [stack.enter_context(closing(_Process("write", root, str(seed)))) for seed in range(writers)]
        for number in range(rounds):
            _let_age(root)
            for process in (collector, *everyone):
                process.tell(str(number))
            count["removed"] += int(collector.answer())
            wanted = {int(outcome) for process in everyone for outcome in process.answer().split()}
            count["wanted"] += len(wanted)
            violations += (f"round {number}: {lost}" for outcome in sorted(wanted) for lost in _lost(root, outcome))
        violations += (f"audit: {problem}" for problem in audit_store(root, Tally()))
    return count, violations


class _Process:
    """One of the processes, which does a round for each line that it gets."""

    def __init__(self, *arguments: str | Path) -> None:
        command = [sys.executable, "-m", "tests.faults.concurrency", *map(str, arguments)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "a process died"
        return line

    def close(self) -> None:
        self._process.communicate(timeout=10)


def write(root: Path, seed: int) -> None:
    """In each round make sure of some outcomes, as a run does: what is known is used, what is not is put."""
    random = Random(seed)  # noqa: S311
    for _ in sys.stdin:
        wanted = random.sample(range(OUTCOMES), max(1, round(OUTCOMES * SHARE)))
        for outcome in wanted:
            _make_sure(root, outcome)
        print(*wanted, flush=True)


def collect(root: Path) -> None:
    """In each round let go of all that nobody uses."""
    for _ in sys.stdin:
        with gc.locked(root):
            garbage = gc.find(root, (), time.time(), DAYS / 2)
            gc.remove(garbage)
        print(sum(not item.path.exists() for item in garbage.items), flush=True)


def _make_sure(root: Path, outcome: int) -> None:
    blobs, index = BlobStore(root), Index(root)
    known = index.exported(_key(outcome))
    if known is None or not all(blobs.use(file.sha256) for file in known.files):
        for data in _contents(outcome):
            blobs.put_bytes(data)
        index.put_exported(_key(outcome), _result(outcome))


def _lost(root: Path, outcome: int) -> Iterator[str]:
    """What of a wanted outcome is not there, or is another one's."""
    if Index(root).exported(_key(outcome)) != _result(outcome):
        yield f"outcome {outcome} is not in the index, or another one is"
    for file, data in zip(_result(outcome).files, _contents(outcome), strict=True):
        copy = root.parent / "copy"
        try:
            BlobStore(root).get(file.sha256, copy)
        except StorageError as error:
            yield f"{file.name} of outcome {outcome}: {error.kind}"
            continue
        if copy.read_bytes() != data:
            yield f"{file.name} of outcome {outcome} has other bytes"
        copy.unlink()


def _let_age(root: Path) -> None:
    then = time.time() - DAYS
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def _contents(outcome: int) -> tuple[bytes, bytes]:
    return f"graph {outcome}".encode() * 500, f"weights {outcome // 2}".encode() * 2000


def _key(outcome: int) -> str:
    return hashlib.sha256(str(outcome).encode()).hexdigest()


def _result(outcome: int) -> CellResult:
    graph, weights = (
        FileRef(name=name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
        for name, data in zip(("graph.onnx", "weights.data"), _contents(outcome), strict=True)
    )
    return synthetic.result(f"m-dynamo-opset{outcome}-float32-cpu", artifact=synthetic.artifact(graph, weights), attachments=())


# Real runs


def pair() -> Iterator[str]:
    """Two runs of the same cells at the same time with one store, and collections beside them; what is wrong then."""
    with tempfile.TemporaryDirectory(prefix="p-", ignore_cleanup_errors=True) as name:
        folders = [Path(name) / letter for letter in "ab"]
        store = Path(name) / "store"
        runs = [RealRun(folder, STORE=str(store)) for folder in folders]
        while any(run.process.poll() is None for run in runs):
            _collect_beside(store, folders)
            time.sleep(0.2)
        ends = [run.end() for run in runs]
        yield from (f"a run ended with {code}: {said}" for code, said in ends if code or "Traceback" in said)
        if not any(code for code, _ in ends):
            yield from _different(folders)
        problems = [*audit_store(store, Tally()), *(p for folder in folders for p in audit_run(run_folder(folder), Tally()))]
        yield from (f"audit: {problem}" for problem in problems)
        yield from (f"left running: {process}" for run in runs for process in run.left())


def _collect_beside(store: Path, folders: Sequence[Path]) -> None:
    if (store / "store.json").exists():
        with gc.locked(store):
            gc.remove(
                gc.find(store, [path.parent for folder in folders for path in folder.glob("runs/2*/plan.json")], time.time(), 1)
            )


def _different(folders: Sequence[Path]) -> Iterator[str]:
    """Who came first with a cell exported it for the first time, and the other one perhaps too."""
    one, other = (comparable(report(folder)) for folder in folders)
    yield from different_rows(one, other)
    if (one["run"], one["counts"]) != (other["run"], other["counts"]):
        yield f"the runs differ: {one['run']} {one['counts']}, {other['run']} {other['counts']}"


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["write", root, seed]:
            write(Path(root), int(seed))
        case ["collect", root]:
            collect(Path(root))
        case _:
            return show(campaign(*map(int, arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
