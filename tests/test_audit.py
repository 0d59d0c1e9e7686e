from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.audit import audit_run
from orchestrator.errors import EnvironmentRefusedError
from orchestrator.folder import rebuild
from orchestrator.result import Status
from orchestrator.store.audit import Problem, Tally
from orchestrator.store.ledger import RunStatus
from tests.small_run import CPU, CUDA, HERE, Run, ended

DERIVED = (
    "report.json",
    "report.md",
    "report.html",
    f"{HERE}/SHA256SUMS",
    f"{HERE}/dynamo-opset20.onnx",
    f"{HERE}/dynamo-opset20.onnx.intoto.jsonl",
    f"{HERE}/weights-0123456789ab.data",
    f"{HERE}/test_data_set_0/input_0.pb",
    f"cells/{CPU}/export.log",
    f"cells/{CPU}/repro.py",
    f"cells/{CPU}/verdict.json",
    f"cells/{CUDA}/rejected.onnx",
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return ended(tmp_path)


def audit(run: Run) -> list[tuple[str, str]]:
    return [(problem.kind, problem.path) for problem in problems(run)]


def problems(run: Run) -> list[Problem]:
    before = run.contents()
    found = list(audit_run(run.path, Tally()))
    assert run.contents() == before, "it is to change nothing"
    return found


def test_a_whole_run_has_no_problem_and_all_that_is_derived_is_read(run: Run) -> None:
    tally = Tally()
    assert list(audit_run(run.path, tally)) == []
    derived = {name: data for name, data in run.contents().items() if not name.startswith((".hydra", "plan", "ledger"))}
    assert {*DERIVED} <= derived.keys()
    assert (tally.files, tally.bytes) == (len(derived), sum(map(len, derived.values())))


@pytest.mark.parametrize("name", DERIVED)
def test_a_change_of_any_file_is_told_and_can_be_undone(run: Run, name: str) -> None:
    path, whole = run.path / name, (run.path / name).read_bytes()
    for broken in (bytes([whole[0] ^ 1]) + whole[1:], whole[:-1]):
        path.chmod(0o644)
        path.write_bytes(broken)
        assert audit(run) == [("changed", name)]
    path.unlink()
    assert audit(run) == [("missing", name)]
    rebuild(run.path)
    assert audit(run) == []


def test_a_file_and_its_checksum_that_were_changed_together_are_told(run: Run) -> None:
    run.put("other", b"other graph")
    sums = run.path / HERE / "SHA256SUMS"
    (run.path / HERE / "dynamo-opset20.onnx").chmod(0o644)
    (run.path / HERE / "dynamo-opset20.onnx").write_bytes(b"other graph")
    sums.write_text(
        sums.read_text().replace(run.put("", b"graph").sha256, run.put("", b"other graph").sha256), encoding="utf-8"
    )
    assert audit(run) == [("changed", f"{HERE}/SHA256SUMS"), ("changed", f"{HERE}/dynamo-opset20.onnx")]


def symlink(path: Path, elsewhere: Path) -> None:
    shutil.copy(path, elsewhere)
    path.unlink()
    path.symlink_to(elsewhere)


def hard_link(path: Path, elsewhere: Path) -> None:
    elsewhere.hardlink_to(path)


@pytest.mark.parametrize("link", [symlink, hard_link])
def test_a_link_is_told_although_its_bytes_are_right(run: Run, link: Callable[[Path, Path], None], tmp_path: Path) -> None:
    link(run.path / HERE / "dynamo-opset20.onnx", tmp_path / "elsewhere")
    assert audit(run) == [("linked", f"{HERE}/dynamo-opset20.onnx")]


def test_a_folder_that_is_a_link_is_told(run: Run, tmp_path: Path) -> None:
    shutil.move(run.path / HERE / "test_data_set_0", tmp_path / "elsewhere")
    (run.path / HERE / "test_data_set_0").symlink_to(tmp_path / "elsewhere")
    assert audit(run) == [("linked", f"{HERE}/test_data_set_0/input_0.pb"), ("extra", f"{HERE}/test_data_set_0")]


def test_what_is_not_of_the_run_is_told_where_everything_should_be(run: Run) -> None:
    (run.path / "notes.txt").touch()
    for name in (f"{HERE}/other.onnx", f"cells/{CPU}/core"):
        (run.path / name).touch()
    assert audit(run) == [("extra", f"{HERE}/other.onnx"), ("extra", f"cells/{CPU}/core")]


@pytest.mark.parametrize("truth", ["plan.json", "ledger.jsonl"])
@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(path.read_bytes()[5:]), Path.unlink])
def test_without_the_truth_artifacts_are_compared_with_their_checksums(
    run: Run, truth: str, harm: Callable[[Path], object]
) -> None:
    harm(run.path / truth)
    assert audit(run) == [("damaged", truth)]
    (run.path / HERE / "weights-0123456789ab.data").unlink()
    (run.path / HERE / "unknown.onnx").touch()
    assert audit(run) == [
        ("damaged", truth),
        ("missing", f"{HERE}/weights-0123456789ab.data"),
        ("extra", f"{HERE}/unknown.onnx"),
    ]


def test_checksums_that_lead_out_of_their_folder_are_not_followed(run: Run) -> None:
    (run.path / "plan.json").unlink()
    sums = run.path / HERE / "SHA256SUMS"
    sums.write_text(f"{sums.read_text()}{'0' * 64}  ../../../plan.json\n{'0' * 64}  /etc/passwd\nnonsense\n")
    assert audit(run) == [("damaged", "plan.json")]


def test_a_run_that_was_killed_lacks_its_reports(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.finish(CPU)
    run.kill()
    assert audit(run) == [
        ("missing", f"{HERE}/dynamo-opset20.onnx.intoto.jsonl"),
        ("missing", "junit.xml"),
        ("missing", "metrics.txt"),
        ("missing", "report.html"),
        ("missing", "report.json"),
        ("missing", "report.md"),
    ]


def test_an_artifact_that_was_withdrawn_is_not_missed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.finish(CPU)
    run.finish(CUDA, Status.CHECK_FAILED, check="structure")
    run.folder.close(RunStatus.FINISHED)
    assert not (run.path / HERE / "dynamo-opset20.onnx").exists()
    assert audit(run) == []


def test_a_run_that_is_going_on_and_a_folder_that_is_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentRefusedError, match="still going on"):
        list(audit_run(Run(tmp_path).path, Tally()))
    with pytest.raises(EnvironmentRefusedError, match="no run folder"):
        list(audit_run(tmp_path, Tally()))
