from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.deliver import Delivery
from orchestrator.errors import StorageError
from orchestrator.result import Artifact, CellResult, Check, CheckStatus, FileRef, Status
from orchestrator.spec import Unit
from orchestrator.store.blobs import BlobStore
from tests import synthetic

WEIGHTS = b"weights" * 1000
DATA = f"weights-{hashlib.sha256(WEIGHTS).hexdigest()[:12]}.data"


class Run:
    """A run folder without plan and ledger, its store, and workers that hand over what they made."""

    def __init__(self, folder: Path, *units: Unit) -> None:
        self.path = folder / "run"
        self.store = BlobStore(folder / "store")
        self.plan = synthetic.plan(*units, runs=str(folder), store=str(folder / "store"))
        self.delivery = Delivery(self.path, self.plan)

    def put(self, name: str, data: bytes) -> FileRef:
        sha256, size = self.store.put_bytes(data)
        return FileRef(name=name, sha256=sha256, bytes=size)

    def artifact(self, graph: bytes = b"graph") -> Artifact:
        return synthetic.artifact(self.put("model.onnx", graph), self.put(DATA, WEIGHTS))

    def result(self, cell: str, status: Status = Status.PASSED, graph: bytes = b"graph", **changed: Any) -> CellResult:
        attachments = (
            self.put("export.log", b"said"),
            self.put("sources.json", b"{}"),
            self.put("test_data_set_0/input_0.pb", b"in"),
            self.put("test_data_set_0/output_0.pb", b"out"),
        )
        return synthetic.result(cell, status, artifact=self.artifact(graph), attachments=attachments, **changed)

    def files(self) -> list[str]:
        return sorted(path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file())

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def check_sums(self, folder: str) -> str:
        done = subprocess.run(
            ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=self.path / folder, capture_output=True, text=True, check=True
        )
        assert done.stdout.count(": OK") == len(done.stdout.splitlines())
        return done.stdout


FOLDER = "artifacts/resnet50/float32"
CPU = "resnet50-dynamo-opset20-float32-cpu"
CUDA = "resnet50-dynamo-opset20-float32-cuda"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, synthetic.unit(targets=(synthetic.CPU, synthetic.CUDA)))


def test_a_passed_cell_is_delivered_whole(run: Run) -> None:
    run.delivery.publish(run.result(CPU))
    assert run.files() == [
        f"{FOLDER}/SHA256SUMS",
        f"{FOLDER}/dynamo-opset20.onnx",
        f"{FOLDER}/test_data_set_0/input_0.pb",
        f"{FOLDER}/test_data_set_0/output_0.pb",
        f"{FOLDER}/{DATA}",
        f"cells/{CPU}/export.log",
        f"cells/{CPU}/repro.py",
        f"cells/{CPU}/sources.json",
        f"cells/{CPU}/verdict.json",
    ]
    assert run.read(f"{FOLDER}/dynamo-opset20.onnx") == b"graph"
    assert len(run.check_sums(FOLDER).splitlines()) == 4


def test_the_verdict_has_everything_that_is_known_of_the_cell(run: Run) -> None:
    result = run.result(CPU, Status.CHECK_FAILED)
    run.delivery.publish(result)
    verdict = json.loads(run.read(f"cells/{CPU}/verdict.json"))
    assert verdict["schema_version"] == 1
    assert verdict["status"] == "check_failed"
    assert verdict["artifact"]["files"][1]["name"] == DATA
    assert [check["id"] for check in verdict["checks"]] == [check.id for check in result.checks]


@pytest.mark.parametrize(("status", "name"), [(Status.CHECK_FAILED, "rejected.onnx"), (Status.UNVERIFIED, "unverified.onnx")])
def test_what_did_not_pass_stays_in_the_cells_folder_with_its_weights(run: Run, status: Status, name: str) -> None:
    run.delivery.publish(run.result(CPU, status))
    assert run.read(f"cells/{CPU}/{name}") == b"graph"
    assert run.read(f"cells/{CPU}/{DATA}") == WEIGHTS
    assert not (run.path / "artifacts").exists()


def test_a_cell_without_artifact_leaves_its_verdict_and_log(run: Run) -> None:
    log = run.put("export.log", b"Segmentation fault")
    run.delivery.publish(synthetic.result(CPU, Status.CRASHED, attachments=(log,)))
    assert run.files() == [f"cells/{CPU}/export.log", f"cells/{CPU}/repro.py", f"cells/{CPU}/verdict.json"]


def test_passed_on_one_target_and_skipped_on_the_other_is_delivered(run: Run) -> None:
    run.delivery.publish(run.result(CPU))
    run.delivery.publish(synthetic.result(CUDA, Status.SKIPPED, reason="no node has a CUDA device"))
    assert run.read(f"{FOLDER}/dynamo-opset20.onnx") == b"graph"
    run.check_sums(FOLDER)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_wrong_numbers_on_one_target_do_not_take_the_artifact_from_the_other(run: Run, order: tuple[int, int]) -> None:
    results = [run.result(CPU), run.result(CUDA, Status.CHECK_FAILED)]
    for index in order:
        run.delivery.publish(results[index])
    assert run.read(f"{FOLDER}/dynamo-opset20.onnx") == b"graph"
    assert run.read(f"cells/{CUDA}/rejected.onnx") == b"graph"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_check_that_fails_for_all_targets_takes_it_from_all(run: Run, order: tuple[int, int]) -> None:
    wrong = (Check(id="structure", status=CheckStatus.FAILED, detail="the file is opset 18"),)
    results = [run.result(CPU), run.result(CUDA, Status.CHECK_FAILED, checks=wrong)]
    for index in order:
        run.delivery.publish(results[index])
    assert f"{FOLDER}/dynamo-opset20.onnx" not in run.files()
    if order == (0, 1):
        assert "onnx" not in run.check_sums(FOLDER)


def test_another_graph_for_the_same_path_does_not_replace_the_first(run: Run) -> None:
    run.delivery.publish(run.result(CPU))
    run.delivery.publish(run.result(CUDA, graph=b"other graph"))
    assert run.read(f"{FOLDER}/dynamo-opset20.onnx") == b"graph"
    run.check_sums(FOLDER)


def test_cells_of_a_model_share_weights_and_test_data_and_the_sums_are_right_after_each(tmp_path: Path) -> None:
    units = [synthetic.unit(exporter=exporter, opsets=(18, 20)) for exporter in ("dynamo", "torchscript")]
    run = Run(tmp_path, *units)
    for number, cell in enumerate(run.plan.cells, 1):
        run.delivery.publish(run.result(cell.id, graph=cell.id.encode()))
        assert len(run.check_sums(FOLDER).splitlines()) == 3 + number
    assert len([name for name in run.files() if name.endswith(".data")]) == 1


def test_publishing_again_changes_nothing(run: Run) -> None:
    run.delivery.publish(run.result(CPU))
    before = {name: (run.read(name), (run.path / name).stat().st_ino) for name in run.files()}
    Delivery(run.path, run.plan).publish(run.result(CPU))
    after = {name: (run.read(name), (run.path / name).stat().st_ino) for name in run.files()}
    assert {name: data for name, (data, _) in after.items()} == {name: data for name, (data, _) in before.items()}
    # What is shared is not copied again.
    assert after[f"{FOLDER}/{DATA}"] == before[f"{FOLDER}/{DATA}"]


@pytest.mark.parametrize("name", ["test_data_set_0/output_0.pb", "model.onnx", DATA])
def test_if_a_blob_is_gone_nothing_of_the_artifact_is_delivered(run: Run, name: str) -> None:
    result = run.result(CPU)
    assert result.artifact
    (file,) = (file for file in (*result.attachments, *result.artifact.files) if file.name == name)
    (run.store.root / "blobs" / file.sha256[:2] / file.sha256[2:]).unlink()
    with pytest.raises(StorageError):
        run.delivery.publish(result)
    assert [name for name in run.files() if name.startswith("artifacts")] == []


def test_a_cell_that_could_not_be_delivered_has_no_say(run: Run) -> None:
    lost = run.result(CPU)
    gone = FileRef(name="model.onnx", sha256="0" * 64, bytes=5)
    with pytest.raises(StorageError):
        run.delivery.publish(replace(lost, artifact=synthetic.artifact(gone)))
    run.delivery.publish(run.result(CUDA))
    assert run.read(f"{FOLDER}/dynamo-opset20.onnx") == b"graph"


def test_a_workers_file_names_cannot_leave_the_folder(run: Run) -> None:
    evil = tuple(run.put(name, b"evil") for name in ("../../../evil", "/evil", "test_data_set_0/../../../../evil"))
    result = replace(
        run.result(CPU), attachments=evil, artifact=synthetic.artifact(run.put("g", b"g"), run.put("../../evil", b"d"))
    )
    run.delivery.publish(result)
    assert {name.rpartition("/")[0] for name in run.files()} == {f"cells/{CPU}", FOLDER, f"{FOLDER}/test_data_set_0"}
    assert [path.name for path in run.path.parent.iterdir() if "evil" in path.name] == []
    run.check_sums(FOLDER)
