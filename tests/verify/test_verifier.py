from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import psutil
import pytest
from onnx import numpy_helper

from orchestrator.result import Check, CheckStatus
from orchestrator.spec import VerifyLevel
from orchestrator.verify import native, registry, verifier
from orchestrator.verify.base import Subject, Verdict
from orchestrator.verify.registry import CHECKS, Registered
from tests.verify import samples


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_a_good_artifact_passes_every_check(tmp_path: Path, exporter: str) -> None:
    candidate = samples.make(tmp_path, samples.seeded(samples.Pair), samples.PAIR, exporter)
    found = samples.verdicts(candidate)
    assert {name: check.status for name, check in found.items()} == dict.fromkeys(CHECKS, CheckStatus.PASSED)
    assert verifier.failed(list(found.values())) is None
    assert found["parity"].measured is not None
    assert found["parity"].threshold is not None
    assert 0 < found["parity"].measured <= found["parity"].threshold


def test_the_level_chooses_the_checks(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    quick = replace(candidate, spec=replace(candidate.spec, level=VerifyLevel.QUICK))
    left_out = set(CHECKS) - samples.verdicts(quick).keys()
    assert {"weights", "runtime"} <= left_out
    assert left_out.isdisjoint({"delivery", "structure", "interface", "parity", "shapes"})


def test_a_check_that_raises_is_an_error_and_the_others_still_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Subject) -> Verdict:
        raise ZeroDivisionError("oops")

    checks = {**CHECKS, "interface": Registered(check=broken, levels=registry.EVERY_LEVEL)}
    monkeypatch.setattr(verifier, "CHECKS", checks)
    found = samples.verdicts(samples.pair(tmp_path))
    assert found["interface"].status is CheckStatus.ERROR
    assert "ZeroDivisionError: oops" in found["interface"].detail
    assert found["parity"].status is CheckStatus.PASSED


@pytest.mark.parametrize("content", [b"", b"no ONNX at all", b"\x08\x0a\x12"])
def test_a_file_that_is_no_onnx_fails_and_raises_nothing(tmp_path: Path, content: bytes) -> None:
    candidate = samples.pair(tmp_path)
    candidate.path.write_bytes(content)
    graph, *data = candidate.artifact.files
    changed = replace(candidate.artifact, files=(samples.ref(candidate.path), *data))
    found = samples.failing(replace(candidate, artifact=changed))
    assert {"structure", "parity", "shapes"} <= found.keys()
    assert graph.name in found["structure"] or "checker" in found["structure"] or "opset" in found["structure"]


def test_an_interrupt_leaves_no_checker_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Subject) -> Verdict:
        raise KeyboardInterrupt

    script = tmp_path / "hang.py"
    script.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(native, "__file__", str(script))
    monkeypatch.setattr(verifier, "CHECKS", {"parity": Registered(check=interrupted, levels=registry.EVERY_LEVEL)})
    before = set(psutil.Process().children())
    with pytest.raises(KeyboardInterrupt):
        samples.verdicts(samples.pair(tmp_path / "artifact"))
    assert set(psutil.Process().children()) == before


def test_a_graph_file_may_have_any_name(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    path = candidate.path.rename(tmp_path / "graph.json")
    files = (samples.ref(path), *candidate.artifact.files[1:])
    assert samples.failing(replace(candidate, artifact=replace(candidate.artifact, files=files))) == {}


def test_the_reason_is_the_first_check_that_says_no() -> None:
    checks = [
        Check(id="structure", status=CheckStatus.PASSED, detail=""),
        Check(id="interface", status=CheckStatus.FINDING, detail="odd"),
        Check(id="parity", status=CheckStatus.ERROR, detail="first"),
        Check(id="shapes", status=CheckStatus.FAILED, detail="second"),
    ]
    assert verifier.failed(checks) == "parity: first"
    assert verifier.failed(checks[:2]) is None


def test_the_test_data_set_is_what_the_onnx_backend_tests_read(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    names = verifier.write_test_data(candidate.reference, candidate.model, tmp_path)
    assert names == tuple(f"test_data_set_0/{kind}_{i}.pb" for kind in ("input", "output") for i in range(2))
    for name, expected in zip(
        names, (*candidate.reference.example.inputs.values(), *candidate.reference.example.outputs), strict=True
    ):
        tensor = onnx.TensorProto.FromString((tmp_path / name).read_bytes())
        assert numpy_helper.to_array(tensor).tolist() == expected.tolist()
    assert onnx.TensorProto.FromString((tmp_path / names[-1]).read_bytes()).name == "best"
