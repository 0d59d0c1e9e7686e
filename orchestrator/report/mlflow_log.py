"""Logs a run to MLflow, if that is asked for with mlflow=ADDRESS: counts and figures as metrics, the reports as files.

Artifacts are not logged: they are in the run folder and in the store.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator import layout
from orchestrator.report.openmetrics import PER_CELL
from orchestrator.report.summary import Report, exit_code, gone, unexpected

EXPERIMENT = "onnx-batch-exporter"
BATCH = 1000
"""Metrics in one request, MLflow's limit."""
FILES = (layout.REPORT_JSON, layout.REPORT_MARKDOWN, layout.REPORT_HTML)


def is_installed() -> bool:
    """Whether MLflow can be imported; nothing is imported for it."""
    return importlib.util.find_spec("mlflow") is not None


def log(report: Report, folder: Path, address: str) -> None:
    """Log a run that ended; what MLflow complains about is told and ends nothing: the run is on record here.

    Args:
        report: Of the run.
        folder: Of the run.
        address: Of the tracking server or store, as in MLFLOW_TRACKING_URI.
    """
    try:
        _log(report, folder, address)
    except Exception as error:
        sys.stderr.write(f"mlflow={address}: the run could not be logged: {error}\n")


def metrics(report: Report) -> Iterator[tuple[str, float]]:
    """What is logged as metrics, by name: the run's counts, and the figures of its cells."""
    yield "unexpected", len(unexpected(report))
    yield "gone", len(gone(report))
    yield from ((f"cells/{status}", count) for status, count in report.counts.items())
    for cell in report.cells:
        for name, _, value in PER_CELL:
            if (found := value(cell)) is not None:
                # MLflow takes letters, digits, `_`, `-`, `.`, space and `/` in a name.
                yield f"{re.sub('[^A-Za-z0-9_./ -]', '_', cell.id)}/{name.removeprefix('cell_')}", found


def tags(report: Report) -> Mapping[str, str]:
    """What is logged as tags: how it ended, and with what tools it was made."""
    ended = {"status": report.run.status, "exit_code": str(exit_code(report)), "command": " ".join(report.run.command)}
    return ended | {f"version.{tool}": version for tool, version in report.run.versions.items()}


def _log(report: Report, folder: Path, address: str) -> None:
    mlflow: Any = importlib.import_module("mlflow")
    client = mlflow.MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    number = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
    run = client.create_run(number, run_name=report.run.run_id, tags=dict(tags(report)))
    now = run.info.start_time
    found = (mlflow.entities.Metric(name, float(value), now, 0) for name, value in metrics(report))
    while batch := list(itertools.islice(found, BATCH)):
        client.log_batch(run.info.run_id, metrics=batch)
    for name in FILES:
        client.log_artifact(run.info.run_id, str(folder / name))
    client.set_terminated(run.info.run_id, status="FINISHED" if exit_code(report) == 0 else "FAILED")
