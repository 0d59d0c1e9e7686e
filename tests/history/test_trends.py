from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.history import index
from orchestrator.history.trends import Trend, nights, series, trends
from orchestrator.result import FileRef, Origin, Status
from tests import synthetic
from tests.nights import LSTM, RESNET, UNITS, a_run, name_of, night, started


def followed(runs: Path, last: int = 30) -> tuple[list[str], list[Trend]]:
    with index.opened(runs) as history:
        found = nights(history, last)
        return [run.id for run in found], trends(history, found)


def test_the_nights_are_the_finished_runs_of_the_newest_command_the_oldest_first(tmp_path: Path) -> None:
    fleet = ("python", "-m", "orchestrator", "+fleet=nightly")
    night(tmp_path, 1, command=(*fleet, "deliver=none"))
    night(tmp_path, 2, command=("python", "-m", "orchestrator", "+model=lstm"))
    night(tmp_path, 3, command=(*fleet, "hydra.sweep.dir=/runs"))
    night(tmp_path, 4, command=fleet)
    a_run(tmp_path, name_of(5), synthetic.plan(*UNITS), [started(5, command=fleet)])
    (tmp_path / name_of(6)).mkdir()
    assert followed(tmp_path)[0] == [name_of(1), name_of(3), name_of(4)]
    assert followed(tmp_path, last=2)[0] == [name_of(3), name_of(4)]
    assert followed(tmp_path / "nowhere") == ([], [])


def test_what_is_red_comes_first_with_since_when_and_why(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        night(tmp_path, day, synthetic.result(RESNET), synthetic.result(LSTM, Status.CRASHED if day > 1 else Status.PASSED))
    lstm, resnet = followed(tmp_path)[1]
    assert (lstm.cell, lstm.red_since, resnet.cell, resnet.red_since) == (LSTM, name_of(2), RESNET, None)
    assert lstm.problem == "emit: the process was killed by SIGSEGV"
    assert resnet.problem == ""
    assert [point and point.status for point in lstm.points] == ["passed", "crashed", "crashed"]


def test_a_night_without_the_cell_is_none_and_a_cell_that_is_gone_is_not_red(tmp_path: Path) -> None:
    night(tmp_path, 1, synthetic.result(RESNET), synthetic.result(LSTM, Status.OOM))
    night(tmp_path, 2, units=UNITS[:1])
    resnet, lstm = followed(tmp_path)[1]
    assert (resnet.cell, lstm.red_since, lstm.points[1]) == (RESNET, None, None)
    assert series(lstm)["size"] == (None, None)


def test_the_figures_are_followed(tmp_path: Path) -> None:
    night(tmp_path, 1)
    bigger = synthetic.artifact(FileRef(name="a.onnx", sha256="c" * 64, bytes=200))
    night(tmp_path, 2, synthetic.result(RESNET, artifact=bigger), synthetic.result(LSTM, origin=Origin.CACHE))
    found = {trend.cell: series(trend) for trend in followed(tmp_path)[1]}
    assert found[RESNET]["size"] == (102_523_456, 200)
    assert found[LSTM]["export"] == (6.5, None)
    assert {round(value, 3) for value in found[LSTM]["error"] if value} == {0.035}


def test_what_is_worse_than_accepted_is_marked(tmp_path: Path) -> None:
    plan, records = synthetic.worse_than_accepted()
    a_run(tmp_path, name_of(1), replace(plan, settings=replace(plan.settings, runs=str(tmp_path))), records)
    resnet, lstm = followed(tmp_path)[1]
    assert resnet.points[0]
    assert lstm.points[0]
    assert (resnet.points[0].worse, lstm.points[0].worse) == (True, False)
