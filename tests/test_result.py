from __future__ import annotations

import msgspec
import pytest

from orchestrator.result import CellFinished, CellResult, Event, Stage, StageStarted, Status
from tests import synthetic

EVENTS: list[Event] = [
    StageStarted(unit="u", cell=None, stage=Stage.BUILD),
    StageStarted(unit="u", cell="c", stage=Stage.VERIFY),
    CellFinished(result=CellResult(cell="c", status=Status.SKIPPED, reason="why")),
]


@pytest.mark.parametrize("event", EVENTS)
def test_events_are_the_same_after_a_way_through_json(event: Event) -> None:
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event  # type: ignore[arg-type]


def test_the_size_of_an_artifact_is_that_of_all_its_files() -> None:
    graph, weights = synthetic.graph(), synthetic.weights()
    assert synthetic.artifact(graph, weights).bytes == graph.bytes + weights.bytes
