from __future__ import annotations

import pytest

from orchestrator.result import CellFinished, Event, StageStarted
from orchestrator.store.blobs import BlobStore

UNITS = ("good", "exits", "raises")


@pytest.fixture(params=["inline_run", "ray_run"])
def run(request: pytest.FixtureRequest):
    return request.getfixturevalue(request.param)


def told(event: Event) -> tuple[object, ...]:
    """What a reader of the events can tell two schedulers apart by."""
    if isinstance(event, StageStarted):
        return (event.unit, event.stage, event.cell)
    result = event.result
    return (result.cell, result.status, result.reason, result.error and result.error.kind, result.attempts, result.findings)


def test_every_cell_has_its_verdict(run) -> None:
    statuses = {cell: result.status.value for cell, result in run.results.items() if cell.startswith(UNITS)}
    assert statuses == {
        "good-a": "passed",
        "good-b": "passed",
        "exits-a": "crashed",
        "exits-b": "passed",
        "raises-a": "crashed",
        "raises-b": "crashed",
    }


def test_a_stage_is_announced_before_it_ends(run) -> None:
    stages = [(str(event.stage), event.cell) for event in run.of("good") if isinstance(event, StageStarted)]
    assert stages == [
        ("build", None),
        ("capture", None),
        ("emit", "good-a"),
        ("verify", "good-a"),
        ("emit", "good-b"),
        ("verify", "good-b"),
    ]
    assert isinstance(run.of("good")[-1], CellFinished)


def test_every_cell_has_its_output_in_the_store(run, tmp_path) -> None:
    for cell in ("good-a", "exits-a"):
        (reference,) = run.results[cell].attachments
        BlobStore(run.store).get(reference.sha256, tmp_path / cell)
        assert (tmp_path / cell).read_text() == f"build for all\ncapture for all\nemit {cell}\nverify {cell}\n"


@pytest.mark.parametrize("unit", UNITS)
def test_both_schedulers_tell_the_same_story(inline_run, ray_run, unit: str) -> None:
    assert list(map(told, inline_run.of(unit))) == list(map(told, ray_run.of(unit)))
