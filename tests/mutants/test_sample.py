"""A fixed sample of the mutation benchmark: each mutant is caught by the check that must catch it, harmless changes by none."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest

from orchestrator.verify import native
from tests.mutants import bench
from tests.mutants.bench import Made
from tests.mutants.catalogue import FAULTS
from tests.mutants.controls import CONTROLS
from tests.mutants.subjects import Subject
from tests.verify import samples

# Until the sample has every fault: `make test-all` runs it.
pytestmark = pytest.mark.slow

BY_NAME = {fault.name: fault for fault in (*FAULTS, *CONTROLS)}
SAMPLE = {
    ("convolutional", "torchscript"): (
        "one element x 1.001",
        "bias zeroed",
        "rounded to half",
        "batch norm statistics reset",
        "batch norm in training mode",
        "dropout in training mode",
        "pad off by one, same shape",
        "softmax over another axis",
        "resize mode",
        "average pool counts its padding",
        "dilation, same shape",
        "leaky slope x 1.1",
        "a submodule exported in training mode",
        "a buffer changed by the export",
        "epsilon 1e-5 to 1e-3",
        "unstable softmax",
        "clamp that drops NaN",
        "bit flip in the data",
    ),
    ("decoder", "torchscript"): (
        "one tensor x 1.01",
        "two weights swapped",
        "square weight transposed",
        "inputs out of order",
        "two symbols made equal",
        "initializer also an input",
        "unknown domain",
        "tanh GELU for erf GELU",
        "mask ignored",
        "mask inverted",
        "size baked into a reshape or expand",
        "constant arange",
        "constant mask",
        "a submodule left in training mode",
        "offset shifted",
        "path escapes",
    ),
    ("matcher", "torchscript"): (
        "one element x 1.001",
        "output dropped",
        "outputs out of order",
        "input renamed",
        "output of a narrower type",
        "output with one more axis",
        "dimension baked in",
        "random operator",
        "outputs crossed under their names",
        "0.001 added to a value",
        "data truncated",
        "data of another model",
        "stale artifact of another seed",
    ),
    ("counts", "torchscript"): (
        "output of a narrower type",
        "opset number raised",
        "IR version too new",
        "negative index clamped",
        "division rounds to zero",
    ),
    ("gate", "torchscript_script"): ("branch frozen, condition true", "branch frozen, condition false"),
    ("steps", "torchscript_script"): ("loop count frozen", "initializer missing", "rounded to half"),
    ("strided", "dynamo"): ("pad off by one, same shape", "a submodule left in training mode", "clamp that drops NaN"),
}
PAIRS = [(model, exporter, fault) for (model, exporter), faults in SAMPLE.items() for fault in faults]


@pytest.fixture(autouse=True)
def _forked_checker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "start", bench.native_checker)


@functools.cache
def made(model: str, exporter: str) -> Made:
    subject = Subject(model=model, exporter=exporter, opset=20, seed=7, tuning=False)
    return bench.make(subject, Path(tempfile.mkdtemp(prefix="sample-")) / "good", [20])[0]


def test_every_fault_is_in_the_sample() -> None:
    assert {fault for _, _, fault in PAIRS} == {fault.name for fault in FAULTS}


@pytest.mark.parametrize(("model", "exporter"), SAMPLE)
def test_the_good_artifact_passes(model: str, exporter: str) -> None:
    assert samples.failing(made(model, exporter).good) == {}


@pytest.mark.parametrize(("model", "exporter", "fault"), PAIRS)
def test_the_check_that_must_catches_the_fault(tmp_path: Path, model: str, exporter: str, fault: str) -> None:
    subject = made(model, exporter)
    (place,) = bench.chosen_places(subject, BY_NAME[fault], 1)
    candidate, where = bench.damaged(subject, BY_NAME[fault], place, tmp_path)
    assert BY_NAME[fault].check in samples.failing(candidate), where


@pytest.mark.parametrize("change", [control.name for control in CONTROLS])
def test_a_harmless_change_passes(tmp_path: Path, change: str) -> None:
    subject = made("decoder", "torchscript")
    candidate, _ = bench.damaged(subject, BY_NAME[change], 0, tmp_path)
    assert samples.failing(candidate) == {}
