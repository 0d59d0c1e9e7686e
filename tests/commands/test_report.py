from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator import runs
from orchestrator.commands import report
from orchestrator.errors import EnvironmentRefusedError, UserError
from orchestrator.result import Status
from tests.small_run import CPU, CUDA, HERE, Run, ended

TRUTH = (".hydra", "plan.json", "ledger.jsonl")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return ended(tmp_path)


def unused(_: Sequence[str]) -> object:
    raise AssertionError("report configures nothing")


def call(run: Run) -> int:
    return report.main([str(run.path)], unused)  # type: ignore[arg-type]


def delete_what_is_derived(path: Path) -> None:
    for entry in path.iterdir():
        if entry.name not in TRUTH:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def test_all_that_is_derived_is_rebuilt_byte_by_byte(run: Run) -> None:
    before = run.contents()
    delete_what_is_derived(run.path)
    assert {name.split("/")[0] for name in run.contents()} == {*TRUTH}
    assert call(run) == 1
    assert run.contents() == before


def test_it_shows_the_end_of_the_run_and_exits_as_the_run_did(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(run) == json.loads((run.path / "report.json").read_text())["run"]["exit_code"] == 1
    shown = capfd.readouterr().out
    assert f"{CUDA}  check_failed" in shown
    assert str(run.path / HERE / "dynamo-opset20.onnx") in shown


def test_what_is_right_stays_where_it_is_and_what_is_not_ours_too(run: Run) -> None:
    (run.path / HERE / "dynamo-opset20.onnx.sig").write_bytes(b"signature")
    before = {name: (run.path / name).stat().st_ino for name in run.contents() if name.startswith(HERE)}
    call(run)
    after = {name: (run.path / name).stat().st_ino for name in before}
    written = {f"{HERE}/SHA256SUMS", f"{HERE}/dynamo-opset20.onnx.intoto.jsonl"}
    assert {name for name in before if before[name] != after[name]} == written


@pytest.mark.parametrize("harm", ["flip", "cut", "delete", "link", "hard link", "sums too"])
def test_a_file_that_was_changed_is_replaced(run: Run, harm: str, tmp_path: Path) -> None:
    before = run.contents()
    path = run.path / HERE / "weights-0123456789ab.data"
    if harm in ("flip", "cut", "sums too"):
        path.chmod(0o644)
        path.write_bytes(b"Weights" if harm == "flip" else b"w")
    if harm in ("delete", "link"):
        path.unlink()
    if harm == "link":
        (tmp_path / "elsewhere").write_bytes(b"weights")
        path.symlink_to(tmp_path / "elsewhere")
    if harm == "hard link":
        (tmp_path / "elsewhere").hardlink_to(path)
    if harm == "sums too":
        (run.path / HERE / "SHA256SUMS").write_text(f"{'0' * 64}  {path.name}\n")
    call(run)
    assert run.contents() == before
    assert path.stat().st_nlink == 1
    assert not path.is_symlink()


def test_a_run_that_was_killed_gets_its_report_and_its_exit_code_is_1(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.finish(CPU)
    run.kill()
    assert call(run) == 1
    found = json.loads((run.path / "report.json").read_text())
    assert (found["run"]["status"], found["run"]["exit_code"]) == ("running", None)


def test_a_graph_of_a_cell_that_was_killed_before_it_was_on_record_is_taken_back(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (run.path / HERE).mkdir(parents=True)
    (run.path / HERE / "dynamo-opset20.onnx").write_bytes(b"never proved")
    run.finish(CPU, Status.CHECK_FAILED)
    run.kill()
    call(run)
    assert not (run.path / HERE / "dynamo-opset20.onnx").exists()


def test_what_the_store_has_lost_is_told_and_the_rest_is_rebuilt(run: Run) -> None:
    before = run.contents()
    delete_what_is_derived(run.path)
    run.lose(b"said")
    told = rf"2 cells.*\n  {CPU}: .*has no blob.*\n  {CUDA}: .*has no blob"
    with pytest.raises(EnvironmentRefusedError, match=told) as caught:
        call(run)
    assert caught.value.exit_code == 3
    assert before.keys() - run.contents().keys() == {f"cells/{cell}/export.log" for cell in (CPU, CUDA)}


def test_an_artifact_that_is_there_and_right_does_not_need_the_store(run: Run) -> None:
    before = run.contents()
    for data in (b"graph", b"weights", b"in", b"said"):
        run.lose(data)
    assert call(run) == 1
    assert run.contents() == before


def test_without_a_name_it_is_the_newest_run(
    run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.path.parents[1])
    assert runs.find(None) == run.path
    assert report.main([], unused) == report.main(["latest"], unused) == 1  # type: ignore[arg-type]
    assert f"runs/{run.path.name}/report.html" in capfd.readouterr().out


def damage_of_the_ledger(run: Run) -> str:
    path = run.path / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"passed"', b'"failed"', 1))
    return r"1 records are lost \(number 2\).*outcomes of 1 cells"


def damage_of_the_plan(run: Run) -> str:
    path = run.path / "plan.json"
    path.write_bytes(path.read_bytes()[:-100])
    return r"plan\.json is damaged.*still stands"


@pytest.mark.parametrize("damage", [damage_of_the_ledger, damage_of_the_plan])
def test_damage_of_the_truth_is_told_and_nothing_is_written(run: Run, damage: object) -> None:
    message = damage(run)  # type: ignore[operator]
    before = run.contents()
    with pytest.raises(EnvironmentRefusedError, match=message) as caught:
        call(run)
    assert caught.value.exit_code == 3
    assert run.contents() == before


def test_a_folder_that_is_no_run_and_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentRefusedError, match="no run folder"):
        report.main([str(tmp_path)], unused)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no such folder"):
        report.main([str(tmp_path / "nowhere")], unused)  # type: ignore[arg-type]
