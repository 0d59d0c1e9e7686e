"""The files of docs/nightly: that the formats' own schemas take them, and that the script does what the page says."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[1]
NIGHTLY = ROOT / "docs/nightly"
KUBERAY = json.loads((ROOT / "tests/schemas/kuberay.schema.json").read_text())


def test_github_takes_the_workflow() -> None:
    typed = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    subprocess.run([*typed, NIGHTLY / "github-actions.yml"], check=True, capture_output=True)


def manifest(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((NIGHTLY / "kubernetes" / name).read_text()))


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycronjob.yaml"])
def test_kuberay_takes_the_job(name: str) -> None:
    document = manifest(name)
    jsonschema.validate(document, KUBERAY)
    spec = document["spec"].get("jobTemplate", document["spec"])
    for wrong in ({"entrypont": "x"}, {"backoffLimit": "0"}, {"rayClusterSpec": {}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(spec | wrong, {"$ref": "#/$defs/RayJobSpec", "$defs": KUBERAY["$defs"]})


def test_the_cron_job_does_every_night_what_the_job_does_once_on_the_volume_that_there_is() -> None:
    job, cron, volume = (manifest(f"{name}.yaml") for name in ("rayjob", "raycronjob", "volume"))
    assert cron["spec"]["jobTemplate"] == job["spec"]
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for group in (job["spec"]["rayClusterSpec"]["headGroupSpec"], *job["spec"]["rayClusterSpec"]["workerGroupSpecs"])
        for volume in group["template"]["spec"]["volumes"]
    ]
    assert claims == [volume["metadata"]["name"]] * 2
    lock = (ROOT / "requirements.lock").read_text()
    assert f"ray=={job['spec']['rayClusterSpec']['rayVersion']} " in lock


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for unit in NIGHTLY.glob("onnx-nightly*"):
        # What it starts, and as whom, is not on this machine.
        text = unit.read_text().replace("/opt/orchestrator/docs/nightly/nightly.sh", "/bin/true").replace("User=onnx\n", "")
        (tmp_path / unit.name).write_text(text)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["onnx-nightly-failed.service", "onnx-nightly.service", "onnx-nightly.timer"]
    done = subprocess.run(["systemd-analyze", "verify", *names], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert not [line for line in done.stderr.splitlines() if "onnx-nightly" in line]


class Night:
    """The script with an interpreter that only notes what it is asked for, and ends as it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.mail = folder, folder / "log", folder / "mail"
        self.python = folder / "python"

    def run(self, code: int, *words: str) -> subprocess.CompletedProcess[str]:
        note = f'#!/bin/sh\necho "$*" >> {self.log}\ncase "$*" in *fleet*) echo "the verdict"; exit {code};; esac\n'
        self.python.write_text(note)
        self.python.chmod(0o755)
        self.log.write_text("")
        self.mail.unlink(missing_ok=True)
        environment = os.environ | {
            "RUNS": str(self.folder / "runs"),
            "MODELS": str(self.folder / "models"),
            "PYTHON": str(self.python),
            "NOTIFY": f"cat > {self.mail}",
        }
        typed = [NIGHTLY / "nightly.sh", *words]
        return subprocess.run(typed, env=environment, capture_output=True, text=True, check=False)

    def steps(self) -> list[str]:
        return [line.split()[2] for line in self.log.read_text().splitlines()]


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return Night(tmp_path)


def test_a_good_night_is_published_and_nobody_is_told(night: Night) -> None:
    done = night.run(0, "select=[lstm-*]")
    assert (done.returncode, done.stdout) == (0, "the verdict\n")
    assert night.steps() == ["+fleet=nightly", "publish", "gc"]
    assert "select=[lstm-*]" in night.log.read_text().splitlines()[0]
    assert not night.mail.exists()


@pytest.mark.parametrize(("code", "steps"), [(1, ["+fleet=nightly", "publish", "gc"]), (3, ["+fleet=nightly", "gc"])])
def test_a_bad_night_is_told_with_its_summary_and_its_exit_code_is_ours(night: Night, code: int, steps: list[str]) -> None:
    assert night.run(code).returncode == code
    assert night.steps() == steps
    assert night.mail.read_text() == f"exit code {code}\nthe verdict\n"


def test_two_nights_at_once_are_one(night: Night) -> None:
    (night.folder / "runs").mkdir()
    with (night.folder / "runs/.nightly.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert night.run(0).returncode == 75
    assert night.steps() == []
