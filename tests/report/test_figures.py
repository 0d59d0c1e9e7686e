from __future__ import annotations

from dataclasses import replace

from orchestrator.report import figures
from orchestrator.report.summary import summarise
from orchestrator.result import Origin
from tests import synthetic


def test_the_error_over_its_bound_and_what_an_export_took() -> None:
    cells = {cell.model: cell for cell in summarise(*synthetic.every_status()).cells}
    passed, crashed = cells["resnet50"], cells["segfault"]
    assert figures.error_ratio(passed) == 1.2e-6 / 3.4e-5
    assert figures.error_ratio(crashed) is None
    assert figures.export_seconds(passed) == 6.5
    assert figures.export_seconds(replace(passed, origin=Origin.CACHE)) is None
    assert figures.export_seconds(replace(passed, durations={})) is None
