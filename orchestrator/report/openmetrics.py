"""metrics.txt: the report in the OpenMetrics text format, for a collector that reads files, as node_exporter's.

Only gauges and no times of samples: the older Prometheus text format, which some collectors read, has nothing else of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from orchestrator.report import figures
from orchestrator.report.summary import CellReport, Report, exit_code, gone, unexpected

PREFIX = "onnx_batch_export"
LABELS = ("cell", "model", "exporter", "opset", "dtype", "target")


def render(report: Report) -> bytes:
    """The report as OpenMetrics text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fixed([*_of_run(report), *_of_cells(report.cells)]))
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
    return text


class _Fixed(Collector):
    """Metrics that are there already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _of_run(report: Report) -> Iterator[Metric]:
    yield _gauge("run_ok", "1 if every cell ended as expected and none is gone", float(exit_code(report) == 0))
    yield _gauge("run_started_timestamp_seconds", "When the run began", _seconds(report.run.started))
    if report.run.finished:
        yield _gauge("run_finished_timestamp_seconds", "When the run ended", _seconds(report.run.finished))
    yield _gauge("cells_unexpected", "Cells that did not end as expected", len(unexpected(report)))
    yield _gauge("cells_gone", "Cells of the baseline that the run does not have", len(gone(report)))
    counts = _family("cells", "Cells by how they ended", ["status"])
    for status, count in report.counts.items():
        counts.add_metric([status], count)
    yield counts
    versions = _family("tool", "Versions of the tools, each 1", ["tool", "version"])
    for tool, version in report.run.versions.items():
        versions.add_metric([tool, version], 1)
    yield versions


def _of_cells(cells: Iterable[CellReport]) -> Iterator[Metric]:
    cells = list(cells)
    for name, text, value in PER_CELL:
        family = _family(name, text, LABELS)
        for cell in cells:
            if (found := value(cell)) is not None:
                opset = "" if cell.opset is None else str(cell.opset)
                family.add_metric([cell.id, cell.model, cell.exporter, opset, cell.dtype, cell.target], found)
        yield family


PER_CELL: tuple[tuple[str, str, Callable[[CellReport], float | None]], ...] = (
    ("cell_expected", "1 if the cell ended as expected", lambda cell: float(cell.expected)),
    ("cell_regressions", "What of the cell is worse than what was accepted", lambda cell: len(cell.regressions)),
    ("cell_error_ratio", "The worst measured error over its bound", figures.error_ratio),
    ("cell_size_bytes", "Graph and weights", lambda cell: cell.artifact.bytes if cell.artifact else None),
    ("cell_operators", "Operators in the graph", lambda cell: sum(cell.artifact.op_counts.values()) if cell.artifact else None),
    ("cell_export_seconds", "Build, capture and emit, where this run did them", figures.export_seconds),
    ("cell_peak_memory_bytes", "Of the unit's processes while they worked for the cell", lambda cell: cell.peak_memory),
)
"""Name, what it says, and its value; None if the cell has none."""


def _family(name: str, text: str, labels: Iterable[str] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=list(labels))


def _gauge(name: str, text: str, value: float) -> Metric:
    family = _family(name, text)
    family.add_metric([], value)
    return family


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
