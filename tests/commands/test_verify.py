"""The verb as a process: what a user types, sees, and gets as exit code; each file is judged in a process of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.__main__ import main
from orchestrator.report import json as report_json
from orchestrator.verify.registry import CHECKS
from tests import foreign

jsonschema = pytest.importorskip("jsonschema")
pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
CONFIG = """
name: classifier
build: {_target_: tests.foreign.Classifier}
weights: {file: weights.safetensors}
dims: {batch: {min: 1, max: 16}}
inputs:
  - {name: image, shape: [batch, 3, 12, 12]}
  - {name: gain, shape: [batch, 1], range: [1, 2]}
outputs: [logits, pooled]
"""

KILLER = """
name: segfaults
build: {_target_: tests.misbehaving.models.Misbehaving, deed: segfault}
weights: {seed: 0}
dims: {batch: {min: 1, max: 16}}
inputs: [{name: features, shape: [batch, 4], range: [-1, 1]}]
outputs: [logits]
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: a config, its weights, a file of a script, the same with other names."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "model").mkdir()
    (folder / "model" / "classifier.yaml").write_text(CONFIG)
    foreign.save_weights(folder / "model" / "weights.safetensors")
    foreign.export(folder / "good.onnx")
    foreign.export(folder / "renamed.onnx", names=("x", "g", "y", "z"))
    return folder


def verify(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    before = {*folder.rglob("*")}
    command = [sys.executable, "-m", "orchestrator", "verify", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stderr
    assert {*folder.rglob("*")} == before, "it is to write nothing"
    return done


def verify_file(folder: Path, file: str, *words: str) -> subprocess.CompletedProcess[str]:
    return verify(folder, file, "--config-dir", ".", "+model=classifier", "trust=[tests.foreign.*]", *words)


def refusal(monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str) -> str:
    """What the command says on a mistake; in this process, since nothing is started."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["orchestrator", "verify", *words])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main()
        except SystemExit as error:
            code = error.code
    assert (code, out.getvalue()) == (2, "")
    return err.getvalue()


def cell(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON, checked against the schema of a cell in report.json."""
    found: dict[str, Any] = json.loads(done.stdout)
    schema = report_json.schema()
    jsonschema.validate(found, {"$ref": "#/$defs/cell", "$defs": schema["$defs"]})
    return found


def test_a_good_file_passes_isolated_with_a_line_per_check(here: Path) -> None:
    done = verify_file(here, "good.onnx")
    assert done.returncode == 0, done.stdout + done.stderr
    first, *lines = done.stdout.splitlines()
    assert first == "passed  good.onnx  as classifier, float32, cpu"
    passed = [line.split()[1] for line in lines if line.startswith("  +")]
    assert [name for name in CHECKS if name in passed] == passed
    assert {"delivery", "structure", "interface", "parity", "shapes", "weights", "runtime"} <= set(passed)


def test_the_json_is_a_cell_of_the_report(here: Path) -> None:
    found = cell(verify_file(here, "good.onnx", "--json", "cluster=inline"))
    assert (found["id"], found["exporter"]) == ("classifier-file-float32-cpu", "file")
    assert (found["opset"], found["opset_actual"], found["status"], found["expected"]) == (None, 20, "passed", True)
    assert found["artifact"]["path"] == "good.onnx"


def test_an_opset_that_is_given_is_compared(here: Path) -> None:
    done = verify_file(here, "good.onnx", "opset=18", "exporter=dynamo", "--json", "cluster=inline")
    assert done.returncode == 1
    assert (cell(done)["id"], cell(done)["opset"]) == ("classifier-dynamo-opset18-float32-cpu", 18)
    assert "asked for opset 18, the file is opset 20" in cell(done)["reason"]


def test_names_of_the_file_are_mapped(here: Path) -> None:
    maps = [word for pair in ("x=image", "g=gain", "y=logits", "z=pooled") for word in ("--map", pair)]
    assert verify_file(here, "renamed.onnx", "cluster=inline", *maps).returncode == 0
    assert verify_file(here, "renamed.onnx", "cluster=inline").returncode == 1


def test_the_weights_may_be_given(here: Path) -> None:
    wrong = verify_file(here, "good.onnx", "cluster=inline", "model.weights.file=null", "model.weights.seed=0", "verify=quick")
    assert (wrong.returncode, "x parity" in wrong.stdout) == (1, True)


def test_a_child_that_is_killed_ends_as_crashed_and_not_with_the_command(here: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "segfaults.yaml").write_text(KILLER)
    words = ("--config-dir", str(tmp_path), "+model=segfaults", "trust=[tests.misbehaving.*]", "--json")
    done = verify(here, "good.onnx", *words)
    assert done.returncode == 1
    assert (cell(done)["status"], cell(done)["error"]["kind"]) == ("crashed", "signal")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: FILE"),
        (["gone.onnx", "+model=resnet50"], "gone.onnx: cannot be read: No such file or directory"),
        (["good.onnx"], "choose a model, +model=NAME"),
        (["good.onnx", "+model=resnet5"], "+model=resnet5: there is no model 'resnet5'; did you mean resnet50 or unet?"),
        (["good.onnx", "+model=resnet50", "opset=18,20"], "verify judges a file against one model, dtype and target; 2 cells"),
        (["good.onnx", "+model=resnet50", "verify=off"], "verify=off: asks for nothing to be judged"),
        (["good.onnx", "+model=resnet50", "--map", "image"], "--map image: write --map THEIRS=OURS"),
        (["good.onnx", "+model=resnet50", "--map", "x=imag"], "--map x=imag: resnet50 declares no 'imag'; did you mean image"),
        (
            ["good.onnx", "+model=resnet50", "--map", "x=image", "--map", "y=image"],
            "--map y=image: each name can be mapped once",
        ),
        (["good.onnx", "+model=resnet50", "--trust", "os.*"], "--trust: is for a folder"),
        (["model"], "model: is no run folder: it has no plan.json"),
        (["model", "+model=resnet50"], "+model=resnet50: no effect on a folder"),
        (["/dev/null", "+model=resnet50"], "/dev/null: is neither a regular file nor a folder"),
        (["odd\udcff.onnx", "+model=resnet50"], "the name is not UTF-8; rename it"),
    ],
    ids=str,
)
def test_a_mistake_is_told_in_a_line(here: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str) -> None:
    assert message in refusal(monkeypatch, here, *words).splitlines()[-1]


# A folder of an earlier run


@pytest.fixture(scope="module")
def finished(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of ours."""
    runs = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "-m", "orchestrator", "--config-dir", here, "+model=classifier", "trust=[tests.foreign.*]"]
    more = ["exporter=torchscript", "opset=18,20", "cluster=inline", "verify=quick", f"hydra.sweep.dir={runs}"]
    subprocess.run([*command, *more], cwd=ROOT, check=True, capture_output=True)
    return (runs / "latest").resolve()


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return shutil.copytree(finished, tmp_path / "run")


TRUST = ("--trust", "tests.foreign.*")


def test_each_artifact_of_a_run_is_judged_again(run: Path) -> None:
    done = verify(run.parent, str(run), *TRUST)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines() if not line.startswith(" ")] == [
        ["passed", f"artifacts/classifier/float32/torchscript-opset{opset}.onnx"] for opset in (18, 20)
    ]


def test_an_artifact_that_was_changed_since_fails_by_its_checksum(run: Path) -> None:
    path = run / "artifacts/classifier/float32/torchscript-opset18.onnx"
    path.write_bytes(path.read_bytes() + b"\x1a\x01x")
    done = verify(run.parent, str(run / "artifacts"), "--json", *TRUST)
    assert done.returncode == 1
    statuses = {found["opset"]: (found["status"], found["reason"].partition(":")[0]) for found in json.loads(done.stdout)}
    assert statuses == {18: ("check_failed", "delivery"), 20: ("passed", "")}


def test_a_plan_does_not_decide_what_may_be_called(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "if you do too, say so again: --trust 'tests.foreign.*'" in refusal(monkeypatch, run, ".")


def test_a_run_without_artifacts_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(run / "artifacts")
    assert refusal(monkeypatch, run, ".", *TRUST) == ".: holds no artifact; the run delivered none, or they were moved\n"


def test_a_file_that_the_plan_does_not_know_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "artifacts" / "stranger.onnx").write_bytes(b"")
    assert refusal(monkeypatch, run, ".", *TRUST).startswith("artifacts/stranger.onnx: belongs to no cell of plan.json")


@pytest.mark.parametrize("text", ["{", '{"schema_version": 1}', "[" * 100_000])
def test_a_damaged_plan_is_told(run: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (run / "plan.json").write_text(text)
    assert refusal(monkeypatch, run, ".", *TRUST).count("\n") == 1
