from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import baseline, doctor, provenance
from orchestrator.doctor import Ended, Level, Symptom
from orchestrator.store import disk, index
from tests.nights import name_of, night

FINE = Ended(0, b'{"cuda": ["NVIDIA H100"], "providers": {"CUDAExecutionProvider": null, "CPUExecutionProvider": null}}', "")
NO_GPU = Ended(
    0, b'{"cuda": [], "providers": {"CUDAExecutionProvider": "it does not start", "CPUExecutionProvider": null}}', ""
)


def levels(symptoms: object) -> list[Level]:
    return [symptom.level for symptom in symptoms]  # type: ignore[attr-defined]


def run(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def examined(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Symptom]:
    """With probes that find a machine without a GPU, on which Ray starts."""
    answers = {"orchestrator.verify.machine": f"print({NO_GPU.out.decode()!r})", "orchestrator.schedulers.machine": ""}
    monkeypatch.setattr(doctor, "_started", lambda module: run(answers[module]))
    return list(doctor.examine(folder / "runs", folder / "runs/.store"))


def test_all_areas_are_looked_at_and_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    symptoms = examined(tmp_path, monkeypatch)
    assert {symptom.area for symptom in symptoms} == {"versions", "devices", "providers", "ray", "store", "runs", "disk"}
    assert Level.PROBLEM not in levels(symptoms)
    assert [*tmp_path.iterdir()] == []


def test_with_a_gpu_all_is_good_and_without_one_it_says_what_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(levels(doctor._devices(FINE))) == {Level.GOOD}
    monkeypatch.setattr(provenance, "local_devices", lambda: frozenset({"cpu"}))
    cuda, runtime, provider = doctor._devices(NO_GPU)
    assert (cuda.level, runtime.level, provider.level) == (Level.NOTE, Level.GOOD, Level.NOTE)
    assert "cells with a target on cuda are skipped" in cuda.message
    assert (provider.message, provider.next) == (
        "CUDAExecutionProvider does not start: target=cuda is skipped",
        "it does not start",
    )


def test_a_gpu_that_torch_cannot_use_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "local_devices", lambda: frozenset({"cpu", "cuda"}))
    assert levels(doctor._devices(NO_GPU))[0] is Level.PROBLEM


def test_a_torch_that_does_not_import_and_a_ray_that_does_not_start_are_problems() -> None:
    (symptom,) = doctor._devices(doctor._ended(run("raise ImportError('libcudart is missing')")))
    assert symptom.level is Level.PROBLEM
    assert symptom.message.endswith("ImportError: libcudart is missing")
    (symptom,) = doctor._ray(doctor._ended(run("raise SystemExit('no port is free')")))
    assert (symptom.level, symptom.message) == (Level.PROBLEM, "Ray does not start on this machine: no port is free")
    assert levels(doctor._ray(Ended(0, b"", ""))) == [Level.GOOD]


def test_a_probe_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.1)
    ended = doctor._ended(run("import time; time.sleep(600)"))
    assert (ended.code, ended.said) == (1, "it took longer than 0 s")


def test_what_is_not_installed_is_told() -> None:
    known = provenance.versions()
    assert levels(doctor._versions({**known, "onnxruntime": "1"})) == [Level.GOOD]
    without = {
        name: version for name, version in known.items() if name not in ("ray", "timm", "onnxruntime-gpu", "onnxruntime")
    }
    told = {symptom.message.partition(" is")[0]: symptom.level for symptom in doctor._versions(without) if symptom.next}
    assert told == {"ray": Level.PROBLEM, "ONNX Runtime": Level.PROBLEM, "timm": Level.NOTE}


def test_little_room_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "free", lambda _: doctor.LITTLE - 1)
    (symptom,) = doctor._disks([("runs", tmp_path)])
    assert symptom.level is Level.NOTE
    assert "gc" in symptom.next


def test_a_store_that_is_there_is_measured_and_one_of_a_newer_version_refused(tmp_path: Path) -> None:
    index.prepare(tmp_path)
    (tmp_path / "blobs/ab").mkdir(parents=True)
    (tmp_path / "blobs/ab/cd").write_bytes(bytes(2000))
    (symptom,) = doctor._store(tmp_path)
    assert (symptom.level, symptom.message) == (Level.GOOD, f"{tmp_path} can be written, schema 1, 1 file, 2.0 kB")
    (tmp_path / index.MARK).write_text('{"schema_version": 99}')
    (symptom,) = doctor._store(tmp_path)
    assert (symptom.level, "schema 99" in symptom.message) == (Level.PROBLEM, True)


def test_a_run_that_cannot_be_read_is_a_note_and_a_damaged_baseline_a_problem(tmp_path: Path) -> None:
    night(tmp_path, 1)
    (tmp_path / name_of(2)).mkdir()
    assert levels(doctor._runs(tmp_path)) == [Level.GOOD, Level.NOTE, Level.GOOD]
    (tmp_path / baseline.NAME).write_text("{")
    assert levels(doctor._runs(tmp_path)) == [Level.GOOD, Level.NOTE, Level.PROBLEM]
