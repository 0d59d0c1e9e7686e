from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator import publish as publishing
from orchestrator.errors import StorageError
from orchestrator.folder import read_run
from orchestrator.publish import Outcome
from orchestrator.result import Status
from orchestrator.store.disk import Disk
from orchestrator.store.ledger import RunStatus
from tests.small_run import CPU, CUDA, Run

GRAPH = "float32/dynamo-opset20.onnx"


def ended(folder: Path, *bad: str, graph: bytes = b"graph") -> Run:
    """A run that reached its end, of one model and two targets; the cells that are named failed."""
    run = Run(folder, graph=graph)
    for cell in (CPU, CUDA):
        run.finish(cell, Status.CHECK_FAILED if cell in bad else Status.PASSED)
    run.folder.close(RunStatus.FINISHED)
    return run


def publish(run: Run, folder: Path, keep: int = 3) -> Outcome:
    folder.mkdir(exist_ok=True)
    (outcome,) = publishing.publish(*read_run(run.path), folder, keep)
    return outcome


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "resnet50/manifest.json").read_bytes()))


def test_a_model_is_there_whole_with_a_manifest(tmp_path: Path) -> None:
    run, folder = ended(tmp_path), tmp_path / "models"
    assert publish(run, folder) == Outcome(model="resnet50", published=True, message=str(folder / "resnet50"))
    manifest = read(folder)
    assert (manifest["schema_version"], manifest["model"], manifest["run"]) == (1, "resnet50", run.path.name)
    (artifact,) = manifest["artifacts"]
    assert (artifact["path"], artifact["exporter"], artifact["targets"]) == (GRAPH, "dynamo", ["cpu", "cuda"])
    assert artifact["inputs"][0]["name"] == "image"
    there = {path.relative_to(folder / "resnet50").as_posix() for path in (folder / "resnet50").rglob("*") if path.is_file()}
    assert there == {*manifest["files"], "manifest.json", "float32/SHA256SUMS", f"{GRAPH}.intoto.jsonl"}
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder / "resnet50/float32", check=True)


def test_what_the_run_folder_does_not_have_comes_from_the_store(tmp_path: Path) -> None:
    run = ended(tmp_path)
    for path in (run.path / "artifacts").rglob("*"):
        if path.is_file():
            path.unlink()
    publish(run, tmp_path / "models")
    assert (tmp_path / "models/resnet50" / GRAPH).read_bytes() == b"graph"


def test_a_model_with_a_cell_that_failed_keeps_what_it_had(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    publish(ended(tmp_path), folder)
    before = read(folder)
    outcome = publish(ended(tmp_path, CUDA, graph=b"other"), folder)
    assert (outcome.published, outcome.withheld, outcome.message) == (False, True, f"{CUDA} did not end as expected")
    assert read(folder) == before


def test_the_same_again_is_no_new_version(tmp_path: Path) -> None:
    folder, first = tmp_path / "models", ended(tmp_path)
    publish(first, folder)
    outcome = publish(ended(tmp_path), folder)
    assert (outcome.published, outcome.withheld) == (False, False)
    assert first.path.name in outcome.message
    assert len([*(folder / ".versions/resnet50").iterdir()]) == 1


def test_a_version_that_lost_a_file_is_published_anew(tmp_path: Path) -> None:
    folder, run = tmp_path / "models", ended(tmp_path)
    publish(run, folder)
    (folder / "resnet50" / GRAPH).unlink()
    assert publish(run, folder).published
    assert (folder / "resnet50" / GRAPH).read_bytes() == b"graph"


def test_a_new_version_takes_the_place_of_the_old_one_which_stays_for_those_who_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    publish(ended(tmp_path), folder)
    opened = (folder / "resnet50").resolve()
    publish(ended(tmp_path, graph=b"better"), folder)
    assert (folder / "resnet50" / GRAPH).read_bytes() == b"better"
    assert (opened / GRAPH).read_bytes() == b"graph"
    assert (folder / "resnet50").readlink().parts[:2] == (".versions", "resnet50")


def test_the_oldest_versions_go(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    names = []
    for n in range(4):
        run = ended(tmp_path, graph=f"graph {n}".encode())
        names.append(run.path.name)
        publish(run, folder, keep=2)
    assert sorted(path.name for path in (folder / ".versions/resnet50").iterdir()) == names[-2:]


def test_a_store_that_lost_a_file_and_a_disk_that_refuses_leave_the_old_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    publish(ended(tmp_path), folder)
    before = read(folder)
    run = ended(tmp_path, graph=b"lost")
    run.lose(b"lost")
    with pytest.raises(StorageError, match="has no blob"):
        publish(run, folder)
    assert read(folder) == before

    class Full(Disk):
        def rename(self, source: Path, destination: Path) -> None:  # noqa: ARG002
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(publishing, "DISK", Full())
    with pytest.raises(StorageError, match="disk is full"):
        publish(ended(tmp_path, graph=b"new"), folder)
    assert read(folder) == before
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]


def test_a_version_that_a_killed_publisher_left_half_done_is_begun_again(tmp_path: Path) -> None:
    folder, run = tmp_path / "models", ended(tmp_path)
    half = folder / ".versions/resnet50" / run.path.name
    half.mkdir(parents=True)
    (half / "stray").write_text("half")
    assert publish(run, folder).published
    assert not (folder / "resnet50/stray").exists()
