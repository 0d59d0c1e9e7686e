from __future__ import annotations

from pathlib import Path

from orchestrator.history import index
from orchestrator.history.followed import follow
from orchestrator.result import Status
from tests import synthetic
from tests.nights import LSTM, RESNET, name_of, night


def test_each_night_is_compared_with_the_one_before_that_had_the_cell(tmp_path: Path) -> None:
    night(tmp_path, 1)
    night(tmp_path, 2)
    night(tmp_path, 3, units=[synthetic.unit("lstm")])
    night(tmp_path, 4, synthetic.result(RESNET, Status.OOM), synthetic.result(LSTM))
    with index.opened(tmp_path) as history:
        told = [(each.run, [change.kind for change in each.changes]) for each in follow(history, RESNET, last=9)]
        newest = follow(history, RESNET, last=1)
        nothing = follow(history, "never", last=9)
    assert told == [(name_of(4), ["status"]), (name_of(2), []), (name_of(1), [])]
    assert [(each.run, len(each.changes)) for each in newest] == [(name_of(4), 1)]
    assert nothing == []
