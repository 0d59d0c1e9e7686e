from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cache import FORCED, LOST
from orchestrator.commands import accept
from orchestrator.commands.run import run
from orchestrator.errors import EnvironmentRefusedError, InterruptedRunError
from orchestrator.folder import read_plan
from orchestrator.report import mlflow_log
from orchestrator.report.summary import CellReport, summarise
from orchestrator.result import CellFinished, CellResult, FileRef, Origin, Status
from orchestrator.schedulers import base
from orchestrator.spec import RunSpec
from orchestrator.store import ledger
from orchestrator.store.blobs import BlobStore
from tests import synthetic
from tests.commands.test_run import CONFIGS, FakeScheduler, spec

ONE, TWO = (f"{name}-dynamo-opset20-float32-cpu" for name in ("one", "two"))


class Exporting(FakeScheduler):
    """Leaves real files in the store, as units do."""

    def __init__(self, store: Path) -> None:
        super().__init__()
        self.store = BlobStore(store)
        self.measured: list[tuple[Any, Any]] = []

    def __call__(self, tasks: Any, cluster: Any, program: Any = base.UNIT) -> Any:
        if program is base.MEASURE:
            self.measured = [(task, cluster) for task in tasks]
            for task in tasks:
                yield from (
                    CellFinished(result=replace(synthetic.result(cell), speed=synthetic.SPEED)) for cell in task.exported
                )
            return
        self.tasks = list(tasks)
        for task in tasks:
            for cell in task.unit.cells:
                if cell.id not in task.done:
                    yield CellFinished(result=self.passed(cell.id))

    def passed(self, cell: str) -> CellResult:
        sha256, size = self.store.put_bytes(cell.encode())
        graph = FileRef(name="dynamo-opset20.onnx", sha256=sha256, bytes=size)
        log_sha, log_size = self.store.put_bytes(b"log")
        log = FileRef(name="export.log", sha256=log_sha, bytes=log_size)
        return synthetic.result(cell, artifact=synthetic.artifact(graph), attachments=(log,))


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exporting:
    fake = Exporting(tmp_path / "store")
    monkeypatch.setattr(base, "load", lambda _: fake)
    return fake


def wished(tmp_path: Path, *names: str, **settings: Any) -> RunSpec:
    wanted = spec(tmp_path, *names)
    return replace(wanted, settings=replace(wanted.settings, **settings))


def cells(tmp_path: Path) -> tuple[Path, dict[str, CellReport]]:
    """The newest run's folder and rows."""
    folder = (tmp_path / "runs" / "latest").resolve()
    return folder, {cell.id: cell for cell in summarise(read_plan(folder), ledger.read(folder / "ledger.jsonl")).cells}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_was_done_is_not_done_again_and_is_delivered(tmp_path: Path, scheduler: Exporting) -> None:
    assert run(wished(tmp_path, "one", "two"), CONFIGS) == 0
    first, before = cells(tmp_path)
    assert [cell.why_exported for cell in before.values()] == ["first time"] * 2
    assert run(wished(tmp_path, "two", "one"), CONFIGS) == 0
    second, after = cells(tmp_path)
    assert scheduler.tasks == []
    assert {cell.origin for cell in after.values()} == {Origin.CACHE}
    assert {cell.why_exported for cell in after.values()} == {None}
    assert files(first) == files(second)
    assert after[ONE].verify_key == before[ONE].verify_key


@pytest.mark.parametrize("deliver", ["changed", "none"])
def test_what_is_not_to_be_delivered_stays_in_the_store(tmp_path: Path, scheduler: Exporting, deliver: str) -> None:
    run(wished(tmp_path, "one"), CONFIGS)
    run(wished(tmp_path, "one", "two", deliver=deliver), CONFIGS)
    folder, after = cells(tmp_path)
    assert [task.unit.model.name for task in scheduler.tasks] == ["two"]
    delivered = {name for name in files(folder) if name.endswith(".onnx")}
    assert delivered == ({"artifacts/two/float32/dynamo-opset20.onnx"} if deliver == "changed" else set())
    assert not (folder / "cells" / ONE).exists()
    assert (folder / "cells" / TWO / "verdict.json").exists()
    one, two = (after[cell].artifact for cell in (ONE, TWO))
    assert one is not None
    assert two is not None
    assert (one.path, two.path is None) == (None, deliver == "none")


def test_an_outcome_whose_files_are_damaged_is_done_again(tmp_path: Path, scheduler: Exporting) -> None:
    run(wished(tmp_path, "one", "two"), CONFIGS)
    _, before = cells(tmp_path)
    assert before[ONE].artifact is not None
    sha256 = before[ONE].artifact.sha256
    blob = tmp_path / "store/blobs" / sha256[:2] / sha256[2:]
    blob.chmod(0o644)
    blob.write_bytes(b"damaged")
    assert run(wished(tmp_path, "one", "two"), CONFIGS) == 0
    folder, after = cells(tmp_path)
    assert [task.unit.model.name for task in scheduler.tasks] == ["one"]
    assert (after[ONE].origin, after[ONE].why_exported, after[TWO].origin) == (Origin.RAN, LOST, Origin.CACHE)
    assert (folder / "artifacts/one/float32/dynamo-opset20.onnx").read_bytes() == ONE.encode()
    assert blob.with_name(f"{blob.name}.bad").exists()


def test_what_passed_is_measured_alone_when_all_is_done_whether_it_was_known_or_not(
    tmp_path: Path, scheduler: Exporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(wished(tmp_path, "one"), CONFIGS)
    assert scheduler.measured == []
    wanted = wished(tmp_path, "one", "two", "three")
    cold, two, three = wanted.requests
    hot = [replace(each, target=replace(each.target, latency=True)) for each in (cold, two)]
    run(replace(wanted, requests=(*hot, three)), CONFIGS)
    assert [(task.unit.model.name, [*task.exported]) for task, _ in scheduler.measured] == [("one", [ONE]), ("two", [TWO])]
    assert {cluster.workers for _, cluster in scheduler.measured} == {1}
    after = cells(tmp_path)[1]
    assert [cell.speed for cell in after.values()] == [synthetic.SPEED, synthetic.SPEED, None]
    assert (after[ONE].origin, after[TWO].origin) == (Origin.CACHE, Origin.RAN)
    passed = scheduler.passed
    monkeypatch.setattr(scheduler, "passed", lambda cell: replace(passed(cell), status=Status.CHECK_FAILED, reason="why"))
    scheduler.measured = []
    run(replace(wanted, requests=tuple(hot), settings=replace(wanted.settings, force=True)), CONFIGS)
    assert scheduler.measured == []


def test_force_does_everything_again(tmp_path: Path, scheduler: Exporting) -> None:
    run(wished(tmp_path, "one"), CONFIGS)
    run(wished(tmp_path, "one", force=True), CONFIGS)
    assert [task.unit.model.name for task in scheduler.tasks] == ["one"]
    assert cells(tmp_path)[1][ONE].why_exported == FORCED


def test_a_changed_model_is_exported_and_says_what_changed(tmp_path: Path, scheduler: Exporting) -> None:
    run(wished(tmp_path, "one", "two"), CONFIGS)
    wanted = wished(tmp_path, "one", "two")
    request = wanted.requests[0]
    model = replace(request.model, build=replace(request.model.build, arguments={"weights": None, "layers": [1, 3]}))
    run(replace(wanted, requests=(replace(request, model=model), wanted.requests[1])), CONFIGS)
    assert [task.unit.model.name for task in scheduler.tasks] == ["one"]
    why = cells(tmp_path)[1][ONE].why_exported
    assert why is not None
    assert "[1, 2] → [1, 3]" in why
    assert "nothing else" in why


def test_a_verdict_of_another_level_is_made_from_the_artifact_that_there_is(tmp_path: Path, scheduler: Exporting) -> None:
    run(wished(tmp_path, "one"), CONFIGS)
    wanted = wished(tmp_path, "one")
    stricter = replace(wanted.requests[0].verify, k=4.0)
    run(replace(wanted, requests=(replace(wanted.requests[0], verify=stricter),)), CONFIGS)
    (task,) = scheduler.tasks
    assert task.exported[ONE].artifact is not None
    assert cells(tmp_path)[1][ONE].why_exported is None


def test_a_crash_is_tried_again(tmp_path: Path, scheduler: Exporting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "passed", lambda cell: CellResult(cell=cell, status=Status.CRASHED, reason="why"))
    assert run(wished(tmp_path, "one"), CONFIGS) == 1
    assert run(wished(tmp_path, "one"), CONFIGS) == 1
    assert len(scheduler.tasks) == 1


def test_a_run_that_is_interrupted_says_how_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = FakeScheduler(InterruptedRunError("Interrupted."))
    monkeypatch.setattr(base, "load", lambda _: stopped)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InterruptedRunError) as raised:
        run(spec(tmp_path, "one"), CONFIGS)
    (folder,) = Path("runs").glob("2*")
    assert str(raised.value) == f"Interrupted. Go on with: python -m orchestrator resume {folder}"


def test_a_run_is_compared_with_what_was_accepted_and_its_report_is_told_to_others(
    tmp_path: Path, scheduler: Exporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[Path, str]] = []
    monkeypatch.setattr(mlflow_log, "log", lambda _, folder, address: logged.append((folder, address)))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert run(wished(tmp_path, "one", "two"), CONFIGS) == 0
    assert accept.main(["latest", "--runs", str(tmp_path / "runs")], lambda _: wished(tmp_path)) == 0
    assert run(wished(tmp_path, "one", mlflow="sqlite:///a.db"), CONFIGS) == 1
    folder, _ = cells(tmp_path)
    report = json.loads((folder / "report.json").read_bytes())
    assert [each["cell"] for each in report["baseline"]["gone"]] == [TWO]
    assert (tmp_path / "summary.md").read_text().endswith((folder / "report.md").read_text())
    assert logged == [(folder, "sqlite:///a.db")]
    assert scheduler.tasks == []


def test_a_damaged_baseline_ends_a_run_before_its_work(tmp_path: Path, scheduler: Exporting) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/baseline.json").write_text("{")
    with pytest.raises(EnvironmentRefusedError, match=r"baseline\.json is damaged"):
        run(wished(tmp_path, "one"), CONFIGS)
    assert scheduler.tasks == []
