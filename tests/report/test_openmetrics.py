from __future__ import annotations

from dataclasses import replace

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as prometheus_parser

from orchestrator.report import openmetrics
from orchestrator.report.summary import Report, summarise
from orchestrator.result import Origin
from tests import synthetic


def samples(report: Report) -> dict[tuple[str, ...], float]:
    """By name and the values of the labels, the cell's other names left out."""
    text = openmetrics.render(report).decode()
    families = list(openmetrics_parser(text))
    return {
        (
            sample.name.removeprefix("onnx_batch_export_"),
            *list(sample.labels.values())[: 2 if "tool" in sample.name else 1],
        ): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_run_and_its_cells_are_told_in_figures() -> None:
    report = summarise(*synthetic.every_status())
    found = samples(report)
    assert (found["run_ok",], found["cells_unexpected",], found["cells", "crashed"], found["cells", "passed"]) == (0, 7, 1, 4)
    assert found["run_finished_timestamp_seconds",] - found["run_started_timestamp_seconds",] == 192
    assert found["tool", "torch", "2.15.0"] == 1
    cell = "resnet50-dynamo-opset20-float32-cpu"
    assert found["cell_expected", cell] == 1
    assert found["cell_size_bytes", cell] == 102_523_456
    assert found["cell_operators", cell] == 103
    assert abs(found["cell_error_ratio", cell] - 1.2e-6 / 3.4e-5) < 1e-9
    assert abs(found["cell_export_seconds", cell] - 6.5) < 1e-9
    assert found["cell_peak_memory_bytes", cell] == 1_530_000_000


def test_what_a_cell_does_not_have_is_not_told() -> None:
    report = summarise(*synthetic.every_status())
    cached = replace(report.cells[0], origin=Origin.CACHE)
    found = samples(replace(report, cells=(cached, *report.cells[1:])))
    assert ("cell_export_seconds", cached.id) not in found
    assert ("cell_size_bytes", "segfault-dynamo-opset20-float32-cpu") not in found
    assert found["cell_expected", "segfault-dynamo-opset20-float32-cpu"] == 0


def test_what_is_worse_or_gone_is_counted() -> None:
    found = samples(summarise(*synthetic.worse_than_accepted()))
    assert (found["run_ok",], found["cells_gone",]) == (0, 1)
    assert found["cell_regressions", "resnet50-dynamo-opset20-float32-cpu"] == 1


def test_collectors_of_the_older_text_format_read_it_too() -> None:
    text = openmetrics.render(summarise(*synthetic.every_status())).decode()
    assert text.endswith("# EOF\n")
    assert {family.type for family in prometheus_parser(text)} == {"gauge"}
