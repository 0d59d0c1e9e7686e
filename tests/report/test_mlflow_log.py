from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.report import mlflow_log
from orchestrator.report.summary import summarise
from tests import synthetic

CELL = "resnet50-dynamo-opset20-float32-cpu"


def test_the_counts_and_the_figures_of_cells_are_metrics_with_names_that_mlflow_takes() -> None:
    unit = synthetic.unit(swept=(("exporter.optimize", "true"),))
    report = summarise(synthetic.plan(unit), synthetic.ledger(synthetic.result(unit.cells[0].id)))
    found = dict(mlflow_log.metrics(report))
    assert (found["unexpected"], found["gone"], found["cells/passed"], found["cells/crashed"]) == (0, 0, 1, 0)
    assert found[f"{CELL}-exporter.optimize_true/size_bytes"] == 102_523_456


def test_tags_say_how_it_ended_and_with_what_tools() -> None:
    tags = mlflow_log.tags(summarise(*synthetic.every_status()))
    assert (tags["exit_code"], tags["status"], tags["version.torch"]) == ("1", "finished", "2.15.0")


def test_what_mlflow_complains_about_ends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mlflow_log.log(summarise(*synthetic.every_status()), tmp_path, "nowhere://at/all")
    assert "mlflow=nowhere://at/all: the run could not be logged: " in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_a_run_is_in_a_real_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.chdir(tmp_path)
    report = summarise(*synthetic.every_status())
    for name in mlflow_log.FILES:
        (tmp_path / name).write_text(name)
    address = f"sqlite:///{tmp_path}/mlflow.db"
    mlflow_log.log(report, tmp_path, address)
    mlflow_log.log(report, tmp_path, address)
    client = mlflow.MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name(mlflow_log.EXPERIMENT)
    run, _ = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status, run.data.tags["exit_code"]) == (report.run.run_id, "FAILED", "1")
    assert run.data.metrics == dict(mlflow_log.metrics(report))
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {*mlflow_log.FILES}
