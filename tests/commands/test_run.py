from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.commands.run import run
from orchestrator.errors import EnvironmentRefusedError, InterruptedRunError
from orchestrator.folder import read_plan
from orchestrator.history import estimates
from orchestrator.history.estimates import Cost
from orchestrator.result import CellFinished, CellResult, Event, Status
from orchestrator.schedulers import base
from orchestrator.spec import CellRequest, ClusterSpec, RunSettings, RunSpec, Selection, UnitTask
from orchestrator.store import disk, ledger
from orchestrator.store.ledger import RunFinished, RunStatus
from tests import synthetic

CONFIGS = {"config.yaml": "model: {}\n", "overrides.yaml": "[]\n"}


def spec(tmp_path: Path, *names: str, target: Any = synthetic.CPU) -> RunSpec:
    unit = synthetic.unit()
    requests = [
        CellRequest(
            model=synthetic.model(name),
            exporter=unit.exporter,
            opset=20,
            dtype="float32",
            target=target,
            verify=unit.verify,
            limits=unit.limits,
        )
        for name in names
    ]
    settings = RunSettings(
        runs=str(tmp_path / "runs"),
        store=str(tmp_path / "store"),
        cluster=ClusterSpec(kind="inline", workers=1, threads_per_worker=3),
        trust=("mine.*",),
        require_targets=False,
        overrides=("+model=resnet50",),
    )
    return RunSpec(settings=settings, requests=tuple(requests))


class FakeScheduler:
    """Ends each unit's cells as it was told, or raises instead."""

    def __init__(self, *outcomes: Status | Exception) -> None:
        self.outcomes = list(outcomes)
        self.tasks: list[UnitTask] = []

    def __call__(self, tasks: Sequence[UnitTask], cluster: ClusterSpec) -> Iterator[Event]:
        assert cluster.threads_per_worker == 3
        self.tasks = list(tasks)
        cells = [cell.id for task in tasks for cell in task.unit.cells]
        for cell, outcome in zip(cells, self.outcomes, strict=False):
            if isinstance(outcome, Exception):
                raise outcome
            yield CellFinished(result=CellResult(cell=cell, status=outcome, reason="" if outcome is Status.PASSED else "why"))


@pytest.fixture
def schedule(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(*outcomes: Status | Exception) -> FakeScheduler:
        fake = FakeScheduler(*outcomes)
        monkeypatch.setattr(base, "load", lambda _: fake)
        return fake

    return use


def only_run(tmp_path: Path) -> Path:
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if not path.is_symlink())
    return folder


def end_of(tmp_path: Path) -> tuple[RunStatus, int]:
    *_, last = ledger.read(only_run(tmp_path) / "ledger.jsonl")
    assert isinstance(last, RunFinished)
    return last.status, last.exit_code


def test_a_run_in_which_every_cell_passes_ends_with_0_and_becomes_the_latest(tmp_path: Path, schedule: Any) -> None:
    schedule(Status.PASSED, Status.PASSED)
    assert run(spec(tmp_path, "a", "b"), CONFIGS) == 0
    folder = only_run(tmp_path)
    assert (tmp_path / "runs/latest").resolve() == folder
    assert end_of(tmp_path) == (RunStatus.FINISHED, 0)
    assert (folder / ".hydra/config.yaml").read_text() == CONFIGS["config.yaml"]
    assert [cell.id for cell in read_plan(folder).cells] == ["a-dynamo-opset20-float32-cpu", "b-dynamo-opset20-float32-cpu"]
    report = msgspec.json.decode((folder / "report.json").read_bytes())
    assert report["counts"]["passed"] == 2


def test_a_cell_that_fails_makes_it_1_and_the_others_go_on(
    tmp_path: Path, schedule: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    schedule(Status.CRASHED, Status.PASSED)
    assert run(spec(tmp_path, "a", "b"), CONFIGS) == 1
    assert end_of(tmp_path) == (RunStatus.FINISHED, 1)
    out = capfd.readouterr().out
    assert "1 crashed" in out
    assert "report" in out


def test_workers_are_told_what_they_need_of_the_run(tmp_path: Path, schedule: Any) -> None:
    fake = schedule(Status.PASSED)
    run(spec(tmp_path, "a"), CONFIGS)
    (task,) = fake.tasks
    assert (task.store, task.trust, task.threads) == (str(tmp_path / "store"), ("mine.*",), 3)


def test_a_unit_whose_cells_are_all_skipped_is_not_handed_out(
    tmp_path: Path, schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.provenance.local_devices", lambda: frozenset({"cpu"}))
    fake = schedule()
    assert run(spec(tmp_path, "a", target=synthetic.CUDA), CONFIGS) == 0
    assert fake.tasks == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InterruptedRunError("stopped"), RunStatus.INTERRUPTED, 130),
        (EnvironmentRefusedError("no workers"), RunStatus.REFUSED, 3),
    ],
)
def test_a_run_that_is_ended_keeps_what_was_finished_and_says_how_it_ended(
    tmp_path: Path, schedule: Any, error: Exception, status: RunStatus, code: int
) -> None:
    schedule(Status.PASSED, error)
    with pytest.raises(type(error)):
        run(spec(tmp_path, "a", "b"), CONFIGS)
    assert end_of(tmp_path) == (status, code)
    report = msgspec.json.decode((only_run(tmp_path) / "report.json").read_bytes())
    assert [cell["status"] for cell in report["cells"]] == ["passed", "skipped"]
    assert not (tmp_path / "runs/latest").exists()


def test_a_plan_is_printed_and_nothing_is_started(tmp_path: Path, schedule: Any, capfd: pytest.CaptureFixture[str]) -> None:
    fake = schedule()
    assert run(replace(spec(tmp_path, "one", "two"), plan_only=True), CONFIGS) == 0
    assert "2 cells in 2 units" in capfd.readouterr().out
    assert (fake.tasks, list(tmp_path.iterdir())) == ([], [])


def test_only_what_is_selected_is_done_and_what_is_odd_is_told(
    tmp_path: Path, schedule: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = schedule(Status.PASSED)
    wanted = replace(spec(tmp_path, "one", "two"), selection=Selection(select=("two-*",), skip=("three-*",)))
    assert run(wanted, CONFIGS) == 0
    assert [task.unit.model.name for task in fake.tasks] == ["two"]
    assert capsys.readouterr().err == "skip: 'three-*' matches no cell\n"


def test_what_failed_is_done_again_and_long_work_first(tmp_path: Path, schedule: Any) -> None:
    schedule(Status.CRASHED, Status.PASSED, Status.EXPORT_FAILED)
    assert run(spec(tmp_path, "one", "two", "three"), CONFIGS) == 1
    fake = schedule(Status.PASSED, Status.PASSED)
    assert run(replace(spec(tmp_path, "one", "two", "three"), selection=Selection(only="failed")), CONFIGS) == 0
    assert {task.unit.model.name for task in fake.tasks} == {"one", "three"}


def test_a_run_for_which_there_is_no_room_is_refused_before_anything_is_made(
    tmp_path: Path, schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = schedule(Status.PASSED)
    cost = Cost(shared=1, own=1, files=(synthetic.graph(size=10**9),))
    monkeypatch.setattr(estimates, "costs", lambda *_: {"one-dynamo-opset20-float32-cpu": cost})
    monkeypatch.setattr(disk, "free", lambda _: 10**9)
    with pytest.raises(EnvironmentRefusedError, match=r"1\.00 GB are free, and the artifacts will take about 2\.00 GB"):
        run(spec(tmp_path, "one"), CONFIGS)
    assert (fake.tasks, list(tmp_path.iterdir())) == ([], [])
