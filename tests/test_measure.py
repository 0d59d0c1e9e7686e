from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from orchestrator import measure
from orchestrator.result import CellFinished, CellResult, FileRef, StageStarted, Status
from orchestrator.spec import BuildSpec, ModelSpec, OutputSpec, UnitTask, WeightsSpec
from orchestrator.store.blobs import BlobStore
from orchestrator.verify import latency
from tests import foreign, synthetic

MODEL = ModelSpec(
    name="net",
    build=BuildSpec(target="torch.nn.Flatten", arguments={}),
    weights=WeightsSpec(seed=0),
    dims=foreign.MODEL.dims,
    inputs=foreign.MODEL.inputs[:1],
    outputs=(OutputSpec(name="y"),),
)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "PAIRS", (3, 3))


def graph() -> bytes:
    value = onnx.helper.make_tensor_value_info
    inputs = [value("image", onnx.TensorProto.FLOAT, ["batch", 3, 12, 12])]
    node = onnx.helper.make_node("Flatten", ["image"], ["y"])
    model = onnx.helper.make_graph([node], "net", inputs, [value("y", onnx.TensorProto.FLOAT, ["batch", 432])])
    return onnx.helper.make_model(model, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=8).SerializeToString()


def task(store: Path, data: bytes, **model: object) -> UnitTask:
    """Two cells of a unit, one of them to be measured."""
    unit = replace(synthetic.unit("net", opsets=(18, 20)), model=replace(MODEL, **model))  # type: ignore[arg-type]
    sha256, size = BlobStore(store).put_bytes(data)
    artifact = synthetic.artifact(FileRef(name="dynamo-opset20.onnx", sha256=sha256, bytes=size))
    first, second = (cell.id for cell in unit.cells)
    exported = {second: synthetic.result(second, artifact=artifact)}
    return UnitTask(unit=unit, store=str(store), trust=(), threads=1, done=(first,), exported=exported)


def measured(task: UnitTask, folder: Path) -> CellResult:
    events = list(measure.run(task, folder))
    assert isinstance(events[0], StageStarted)
    (result,) = (event.result for event in events if isinstance(event, CellFinished))
    return result


def test_a_cell_gets_the_figures_of_its_artifact_and_no_other_cell_any(tmp_path: Path) -> None:
    asked = task(tmp_path / "store", graph())
    result = measured(asked, tmp_path)
    assert (result.cell, result.status, result.reason) == (asked.unit.cells[1].id, Status.PASSED, "")
    assert result.speed is not None
    assert (result.speed.pairs, result.speed.threads) == (3, 1)


def test_an_artifact_that_does_not_load_is_told(tmp_path: Path) -> None:
    result = measured(task(tmp_path / "store", b"damaged"), tmp_path)
    assert result.speed is None
    assert "does not load it" in result.reason


def test_a_model_that_cannot_be_built_is_told(tmp_path: Path) -> None:
    broken = BuildSpec(target="torch.nn.Flatten", arguments={"nonsense": 1})
    result = measured(task(tmp_path / "store", graph(), build=broken), tmp_path)
    assert result.speed is None
    assert result.reason.startswith("build: ")
