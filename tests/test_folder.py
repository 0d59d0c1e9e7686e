from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import EnvironmentRefusedError, StorageError
from orchestrator.folder import RunFolder, read_plan, rebuild
from orchestrator.result import CellResult, FileRef, Status
from orchestrator.runs import RUN_ID
from orchestrator.spec import Plan
from orchestrator.store.blobs import BlobStore
from orchestrator.store.disk import Disk
from orchestrator.store.ledger import RunStatus, read
from tests import small_run, synthetic

HYDRA_FILES = {"config.yaml": "opset: 20\n", "overrides.yaml": "- +model=resnet50\n"}
CPU = "resnet50-dynamo-opset20-float32-cpu"
CUDA = "resnet50-dynamo-opset20-float32-cuda"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    unit = synthetic.unit(targets=(synthetic.CPU, synthetic.CUDA))
    return synthetic.plan(unit, runs=str(tmp_path / "runs"), store=str(tmp_path / "store"))


@pytest.fixture
def passed(tmp_path: Path) -> CellResult:
    store = BlobStore(tmp_path / "store")
    graph, log = store.put_bytes(b"graph"), store.put_bytes(b"said")
    return synthetic.result(
        CPU,
        artifact=synthetic.artifact(FileRef(name="model.onnx", sha256=graph[0], bytes=graph[1])),
        attachments=(FileRef(name="export.log", sha256=log[0], bytes=log[1]),),
    )


@pytest.fixture
def skipped() -> CellResult:
    return synthetic.result(CUDA, Status.SKIPPED, reason="no node has a CUDA device")


def begin(plan: Plan) -> RunFolder:
    folder = RunFolder.create(plan, HYDRA_FILES)
    folder.start(["python", "-m", "orchestrator"], {"torch": "2.15.0"}, {"cores": 2})
    return folder


def kill(folder: RunFolder) -> Path:
    """What is left when the driver dies: nobody holds the ledger, and no end is on record."""
    folder._ledger.close()
    return folder.path


def contents(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def test_a_new_folder_holds_plan_configuration_and_an_empty_ledger(plan: Plan) -> None:
    folder = RunFolder.create(plan, HYDRA_FILES)
    assert sorted(contents(folder.path)) == [".hydra/config.yaml", ".hydra/overrides.yaml", "ledger.jsonl", "plan.json"]
    assert read_plan(folder.path) == plan


def test_a_later_run_has_a_later_name_in_the_same_second_too(plan: Plan) -> None:
    names = [RunFolder.create(plan, {}).path.name for _ in range(10)]
    assert all(RUN_ID.fullmatch(name) for name in names)
    assert sorted(set(names)) == names


def test_a_run_from_start_to_end(plan: Plan, passed: CellResult, skipped: CellResult) -> None:
    folder = begin(plan)
    for result in (passed, skipped):
        assert folder.finish_cell(result) == result
    report = folder.close(RunStatus.FINISHED)
    assert report.run.exit_code == 0
    assert report.run.run_id == folder.path.name
    assert [(cell.status, cell.expected) for cell in report.cells] == [(Status.PASSED, True), (Status.SKIPPED, True)]
    artifact = report.cells[0].artifact
    assert artifact
    assert artifact.path
    assert (folder.path / artifact.path).read_bytes() == b"graph"
    assert json.loads((folder.path / "report.json").read_text())["run"]["exit_code"] == 0
    assert (folder.path / "report.md").read_text().startswith("# All 2 cells ended as expected")
    assert (folder.path.parent / "latest").readlink() == Path(folder.path.name)


def test_a_cell_that_failed_makes_exit_code_1(plan: Plan, skipped: CellResult) -> None:
    folder = begin(plan)
    folder.finish_cell(synthetic.result(CPU, Status.CRASHED))
    folder.finish_cell(skipped)
    assert folder.close(RunStatus.FINISHED).run.exit_code == 1


@pytest.mark.parametrize(("status", "code"), [(RunStatus.INTERRUPTED, 130), (RunStatus.REFUSED, 3)])
def test_a_run_that_did_not_reach_its_end_is_reported_and_is_not_the_latest(
    plan: Plan, passed: CellResult, status: RunStatus, code: int
) -> None:
    folder = begin(plan)
    folder.finish_cell(passed)
    report = folder.close(status)
    assert (report.run.status, report.run.exit_code) == (status, code)
    assert [cell.expected for cell in report.cells] == [True, False]
    assert not (folder.path.parent / "latest").is_symlink()


def test_latest_moves_to_the_next_finished_run(plan: Plan, passed: CellResult) -> None:
    for _ in range(2):
        folder = begin(plan)
        folder.finish_cell(passed)
        folder.close(RunStatus.FINISHED)
        assert (folder.path.parent / "latest").resolve() == folder.path
    assert [path for path in Path(plan.settings.runs).iterdir() if path.name.startswith(".")] == []


def test_all_that_is_derived_can_be_deleted_and_rebuilt(plan: Plan, passed: CellResult, skipped: CellResult) -> None:
    folder = begin(plan)
    folder.finish_cell(passed)
    folder.finish_cell(skipped)
    folder.close(RunStatus.FINISHED)
    before = contents(folder.path)
    for name in ("artifacts", "cells"):
        shutil.rmtree(folder.path / name)
    for name in ("report.json", "report.md", "report.html"):
        (folder.path / name).unlink()
    rebuild(folder.path)
    assert contents(folder.path) == before


def test_the_report_of_a_killed_run_shows_what_it_did(plan: Plan, passed: CellResult) -> None:
    folder = begin(plan)
    folder.finish_cell(passed)
    report = rebuild(kill(folder))
    assert report.run.status is RunStatus.RUNNING
    assert [cell.reason for cell in report.cells] == ["", "it has no outcome yet"]


def test_a_cell_whose_blob_was_damaged_is_an_infra_error_and_the_run_goes_on(
    plan: Plan, passed: CellResult, skipped: CellResult, tmp_path: Path
) -> None:
    assert passed.artifact
    sha256 = passed.artifact.files[0].sha256
    blob = tmp_path / "store" / "blobs" / sha256[:2] / sha256[2:]
    blob.chmod(0o644)
    blob.write_bytes(b"grape")
    folder = begin(plan)
    recorded = folder.finish_cell(passed)
    folder.finish_cell(skipped)
    assert recorded.status is Status.INFRA_ERROR
    assert recorded.error
    assert recorded.error.kind == "corrupt"
    report = folder.close(RunStatus.FINISHED)
    assert report.run.exit_code == 1
    assert report.cells[0].artifact is None
    assert not (folder.path / "artifacts" / "resnet50" / "float32" / "dynamo-opset20.onnx").exists()
    before = contents(folder.path)
    rebuild(folder.path)
    assert contents(folder.path) == before


class FullDisk(Disk):
    """Takes so many writes, then is full."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def write(self, descriptor: int, data: memoryview) -> int:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(descriptor, data)


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_full_disk_at_the_start_is_its_own_error(plan: Plan, writes: int) -> None:
    with pytest.raises(StorageError, match="full") as caught:
        RunFolder.create(plan, HYDRA_FILES, FullDisk(writes))
    assert caught.value.kind == "disk_full"
    assert caught.value.exit_code == 3


def test_a_full_disk_in_the_ledger_ends_the_run_and_keeps_what_was_recorded(plan: Plan, passed: CellResult) -> None:
    folder = RunFolder.create(plan, HYDRA_FILES, FullDisk(len(HYDRA_FILES) + 3))
    folder.start([], {}, {})
    folder.finish_cell(passed)
    with pytest.raises(StorageError):
        folder.finish_cell(passed)
    with pytest.raises(StorageError):
        folder.close(RunStatus.REFUSED)
    assert len(read(folder.path / "ledger.jsonl")) == 2


def test_a_runs_folder_that_cannot_be_written_is_named(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(StorageError, match=str(tmp_path / "runs")):
        RunFolder.create(plan, {})


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentRefusedError, match="no run folder"):
        rebuild(tmp_path)


def test_a_plan_that_is_damaged_or_of_another_version_is_refused(plan: Plan) -> None:
    folder = begin(plan)
    path = folder.path / "plan.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(EnvironmentRefusedError, match="damaged"):
        rebuild(folder.path)
    path.write_bytes(whole.replace(b'"schema_version": 1', b'"schema_version": 2'))
    with pytest.raises(EnvironmentRefusedError, match="schema 2"):
        rebuild(folder.path)


def test_a_run_that_never_started_has_no_report(plan: Plan) -> None:
    with pytest.raises(EnvironmentRefusedError, match="never started"):
        rebuild(kill(RunFolder.create(plan, {})))


def test_a_run_that_is_going_on_is_left_alone(plan: Plan) -> None:
    folder = begin(plan)
    before = contents(folder.path)
    with pytest.raises(EnvironmentRefusedError, match="still going on"):
        rebuild(folder.path)
    assert contents(folder.path) == before


def test_a_plan_comes_back_as_it_was_written(plan: Plan) -> None:
    units, _ = synthetic.every_status()
    wide = replace(plan, units=units.units)
    assert read_plan(RunFolder.create(wide, {}).path) == wide


def test_a_plan_that_is_not_the_one_of_the_beginning_is_refused(tmp_path: Path) -> None:
    run = small_run.ended(tmp_path)
    plan = run.path / "plan.json"
    plan.write_text(plan.read_text().replace('"seconds": 600', '"seconds": 601'))
    with pytest.raises(EnvironmentRefusedError, match="other bytes than when the run began"):
        read_plan(run.path)
    plan.write_bytes(b"{\xe5" + plan.read_bytes()[2:])
    with pytest.raises(EnvironmentRefusedError, match="is damaged"):
        read_plan(run.path)


def test_what_a_killed_driver_left_half_written_goes_when_the_run_is_rebuilt(tmp_path: Path) -> None:
    run = small_run.ended(tmp_path)
    half = run.path / small_run.HERE / ".dynamo-opset20.onnx.0123456789ab.part"
    half.write_bytes(b"gra")
    rebuild(run.path)
    assert not half.exists()
