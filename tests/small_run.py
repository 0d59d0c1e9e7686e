"""A run of two cells in a folder of its own with a store, made without torch: for tests of what is left of a run."""

from __future__ import annotations

from pathlib import Path

from orchestrator.folder import RunFolder
from orchestrator.result import Check, CheckStatus, FileRef, Status
from orchestrator.store.blobs import BlobStore
from orchestrator.store.ledger import RunStatus
from tests import synthetic

CPU = "resnet50-dynamo-opset20-float32-cpu"
CUDA = "resnet50-dynamo-opset20-float32-cuda"
HERE = "artifacts/resnet50/float32"


class Run:
    """A run of two cells that shared an artifact: its folder, and a store that holds what they made."""

    def __init__(self, folder: Path, graph: bytes = b"graph") -> None:
        self.graph = graph
        self.store = BlobStore(folder / "store")
        unit = synthetic.unit(targets=(synthetic.CPU, synthetic.CUDA))
        self.folder = RunFolder.create(
            synthetic.plan(unit, runs=str(folder / "runs"), store=str(folder / "store")), {"config.yaml": "opset: 20\n"}
        )
        self.path = self.folder.path
        self.folder.start(["python", "-m", "orchestrator"], {"torch": "2.15.0"}, {"cores": 2})

    def put(self, name: str, data: bytes) -> FileRef:
        sha256, size = self.store.put_bytes(data)
        return FileRef(name=name, sha256=sha256, bytes=size)

    def finish(self, cell: str, status: Status = Status.PASSED, check: str = "parity") -> None:
        """Hand over a cell; one that failed did so in a check."""
        graph, data = self.put("model.onnx", self.graph), self.put("weights-0123456789ab.data", b"weights")
        attachments = (self.put("export.log", b"said"), self.put("test_data_set_0/input_0.pb", b"in"))
        wrong = {check: Check(id=check, status=CheckStatus.FAILED, detail="it is wrong")}
        self.folder.finish_cell(
            synthetic.result(
                cell,
                status,
                artifact=synthetic.artifact(graph, data),
                attachments=attachments,
                checks=synthetic.checks(**({} if status is Status.PASSED else wrong)),
            )
        )

    def kill(self) -> None:
        """Nobody holds the ledger any more, and no end is on record."""
        self.folder._ledger.close()

    def lose(self, data: bytes) -> None:
        sha256, _ = self.store.put_bytes(data)
        (self.store.root / "blobs" / sha256[:2] / sha256[2:]).unlink()

    def contents(self) -> dict[str, bytes]:
        return {path.relative_to(self.path).as_posix(): path.read_bytes() for path in self.path.rglob("*") if path.is_file()}


def ended(folder: Path) -> Run:
    """A run that reached its end, with a cell that passed and one that did not."""
    run = Run(folder)
    run.finish(CPU)
    run.finish(CUDA, Status.CHECK_FAILED)
    run.folder.close(RunStatus.FINISHED)
    return run
