"""The whole way, as a user goes it: `python -m orchestrator` in a process, real exporters, real Ray, real models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from orchestrator.report import json as report_json
from tests.misbehaving.family import marked, started

jsonschema = pytest.importorskip("jsonschema")
pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
GPU = any(Path("/dev").glob("nvidia[0-9]*"))

MODEL = """
name: {name}
build: {{_target_: tests.misbehaving.models.Misbehaving, deed: {deed}}}
weights: {{seed: 0}}
dims: {{batch: {{min: 1, max: 16}}}}
inputs: [{{name: features, shape: [batch, 4], range: [-1, 1]}}]
outputs: [logits]
"""


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator", f"hydra.sweep.dir={folder / 'runs'}", *arguments]


def orchestrate(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | (env or {})
    return subprocess.run(command(folder, *arguments), cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "runs/latest/report.json").read_bytes())
    jsonschema.validate(found, report_json.schema())
    return found


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str], Path]:
    """One run of both exporters and two targets, with an empty home folder."""
    folder = tmp_path_factory.mktemp("mobilenet")
    home = tmp_path_factory.mktemp("home")
    arguments = ("+model=mobilenet_v3_small", "exporter=dynamo,torchscript", "target=cpu,cuda")
    return folder, orchestrate(folder, *arguments, env={"HOME": str(home)}), home


def test_both_exporters_pass_and_a_target_without_a_device_is_skipped_with_the_reason(mobilenet: Any) -> None:
    folder, done, _ = mobilenet
    assert done.returncode == 0, done.stdout + done.stderr
    cells = {cell["id"]: cell for cell in report(folder)["cells"]}
    assert {cell["status"] for name, cell in cells.items() if name.endswith("cpu")} == {"passed"}
    for cell in (cell for name, cell in cells.items() if name.endswith("cuda")):
        assert cell["status"] == ("passed" if GPU else "skipped")
        assert GPU or "cuda" in cell["reason"]
        assert cell["expected"]


def test_the_last_lines_say_where_report_and_artifacts_are(mobilenet: Any) -> None:
    folder, done, _ = mobilenet
    run = (folder / "runs/latest").resolve()
    assert str(run / "report.html") in done.stdout
    assert str(run / "artifacts") in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("batch", [1, 7, 16])
def test_onnxruntime_loads_the_delivered_artifact_at_any_batch(mobilenet: Any, exporter: str, batch: int) -> None:
    path = mobilenet[0] / f"runs/latest/artifacts/mobilenet_v3_small/float32/{exporter}-opset20.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"image": np.zeros((batch, 3, 224, 224), np.float32)})
    assert answer.shape == (batch, 1000)
    assert np.isfinite(answer).all()


def test_checksums_hold_and_no_artifact_tells_a_path_of_this_machine(mobilenet: Any) -> None:
    folder = mobilenet[0] / "runs/latest/artifacts/mobilenet_v3_small/float32"
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    private = [str(ROOT).encode(), sys.prefix.encode(), str(mobilenet[0]).encode()]
    graphs = [path.read_bytes() for path in folder.glob("*.onnx")]
    assert len(graphs) == 2
    assert not [text for text in private for graph in graphs if text in graph]


def test_nothing_is_left_in_the_home_folder(mobilenet: Any) -> None:
    assert [path.name for path in mobilenet[2].rglob("*") if path.is_file()] == []


def test_the_cells_say_which_line_of_the_model_a_node_comes_from(mobilenet: Any) -> None:
    cells = mobilenet[0] / "runs/latest/cells"
    for exporter in ("dynamo", "torchscript"):
        sources = json.loads((cells / f"mobilenet_v3_small-{exporter}-opset20-float32-cpu/sources.json").read_bytes())
        assert any(line.startswith("torchvision/models/mobilenetv3.py:") for line in sources.values())


def test_an_opset_that_dynamo_does_not_honour_ends_with_1_and_says_what_the_file_is(tmp_path: Path) -> None:
    done = orchestrate(tmp_path, "+model=resnet50", "exporter=dynamo", "opset=17", "cluster=inline", "verify=quick")
    assert done.returncode == 1
    assert "opset 18" in done.stdout
    (cell,) = report(tmp_path)["cells"]
    assert (cell["status"], cell["opset"], cell["opset_actual"]) == ("check_failed", 17, 18)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_ends_with_130_within_seconds_and_leaves_no_process(tmp_path: Path, sign: signal.Signals) -> None:
    driver = subprocess.Popen(
        command(tmp_path, "+model=resnet50"),
        cwd=ROOT,
        env=os.environ | marked(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with driver:
        wait_for(lambda: any("cells" in path.parts for path in tmp_path.rglob("*")) or len(started(tmp_path)) > 6)
        driver.send_signal(sign)
        stopped = time.monotonic()
        out, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130, out
    assert time.monotonic() - stopped < 10
    wait_for(lambda: not started(tmp_path), seconds=5)
    assert "Traceback" not in out
    (run,) = (path for path in (tmp_path / "runs").iterdir() if path.name != ".store")
    assert json.loads((run / "report.json").read_bytes())["run"]["status"] == "interrupted"


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def test_a_factory_that_raises_is_told_with_its_message_and_its_config_and_others_go_on(tmp_path: Path) -> None:
    configs = tmp_path / "configs/model"
    configs.mkdir(parents=True)
    (configs / "broken.yaml").write_text(MODEL.format(name="broken", deed="raise_error, when: build"))
    (configs / "good.yaml").write_text(MODEL.format(name="good", deed="nothing"))
    arguments = ["--config-dir", str(tmp_path / "configs"), "+model=broken,good", "trust=[tests.misbehaving.*]"]
    done = orchestrate(tmp_path, *arguments, "exporter=torchscript", "cluster=inline")
    assert done.returncode == 1
    broken, good = report(tmp_path)["cells"]
    assert (broken["status"], broken["error"]["stage"], good["status"]) == ("export_failed", "build", "passed")
    assert "on purpose" in broken["reason"]
    assert str(configs / "broken.yaml") in broken["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript", "torchscript_script"])
def test_the_zoo_ends_as_expected(tmp_path: Path, exporter: str) -> None:
    done = orchestrate(tmp_path, "+model=glob(*)", f"exporter={exporter}")
    assert done.returncode == 0, done.stdout
