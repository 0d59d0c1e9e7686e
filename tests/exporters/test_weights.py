from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_ir import tensor_adapters

from exporters import graph, weights
from exporters.weights import ALIGNMENT, LARGE
from tests.exporters.graphs import FLOATS, branching, model, run, total, weight


def test_small_tensors_stay_and_large_ones_are_stored_once_sorted_by_digest(tmp_path: Path) -> None:
    weights = [weight("a", 1, 2), weight("b", 3), weight("same", 1, 2), weight("small", 5, size=FLOATS - 1)]
    written = graph.write(model(total("a", "b", "same"), weights), tmp_path, "m")
    assert (written.files[0], written.opset) == ("m.onnx", 20)
    digests = sorted(hashlib.sha256(tensor.raw_data).hexdigest() for tensor in weights[:2])
    assert written.files[1] == f"weights-{hashlib.sha256(''.join(digests).encode()).hexdigest()[:12]}.data"
    data = (tmp_path / written.files[1]).read_bytes()
    assert len(data) == 2 * LARGE
    assert [hashlib.sha256(data[k : k + LARGE]).hexdigest() for k in (0, LARGE)] == digests
    external = {t.name for t in onnx.load(tmp_path / "m.onnx", load_external_data=False).graph.initializer if t.external_data}
    assert external == {"a", "b", "same"}
    np.testing.assert_array_equal(run(tmp_path / "m.onnx")[:2], [5, 7])


def test_what_lay_outside_before_does_not_stay_there(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    ir.save(model(total("a", "small"), [weight("a", 1, 2), weight("small", 3, size=2)]), outside / "m.onnx")
    given = ir.load(outside / "m.onnx")
    for number, value in enumerate(given.graph.initializers.values()):
        assert value.const_value is not None
        (outside / str(number)).write_bytes(value.const_value.numpy().tobytes())
        value.const_value = ir.ExternalTensor(
            str(number), 0, value.const_value.nbytes, value.const_value.dtype, shape=value.const_value.shape,
            name=value.name or "", base_dir=outside,
        )  # fmt: skip
    written = graph.write(given, tmp_path, "m")
    proto = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    locations = {t.name: [e.value for e in t.external_data if e.key == "location"] for t in proto.graph.initializer}
    assert locations == {"a": [written.files[1]], "small": []}


def test_tensors_begin_at_pages(tmp_path: Path) -> None:
    weights = [weight("a", 1, size=FLOATS + 1), weight("b", 2, size=FLOATS + 1)]
    written = graph.write(model([helper.make_node("Add", ["a", "b"], ["y"])], weights), tmp_path, "m")
    loaded = ir.load(tmp_path / "m.onnx").graph.initializers.values()
    assert sorted(value.const_value.offset for value in loaded) == [0, LARGE + ALIGNMENT]
    assert (tmp_path / written.files[1]).stat().st_size == 2 * LARGE + ALIGNMENT + 4


def test_a_graph_without_large_tensors_is_one_file(tmp_path: Path) -> None:
    assert graph.write(model(total("a"), [weight("a", 1, size=8)]), tmp_path, "m").files == ("m.onnx",)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_weights_file_that_is_there_is_used(tmp_path: Path) -> None:
    first = graph.write(model(total("a"), [weight("a", 1)]), tmp_path, "first")
    before = (tmp_path / first.files[1]).stat()
    second = graph.write(model(total("a"), [weight("a", 1)], opset=21), tmp_path, "second")
    after = (tmp_path / second.files[1]).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert second.opset == 21


KINDS = ["bool", "int8", "float16", "float32", "int64", "complex128"]


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("missing", [0, 1])
def test_constants_become_weights_by_their_bytes_whatever_their_type(dtype: str, missing: int, tmp_path: Path) -> None:
    tensor = weight("value", 1, size=LARGE // np.dtype(dtype).itemsize - missing, dtype=dtype)
    nodes = [helper.make_node("Constant", [], ["c"], value=tensor), helper.make_node("Identity", ["c"], ["y"])]
    written = graph.write(model(nodes, kind=tensor.data_type), tmp_path, "m")
    assert (len(written.files) == 2) == (missing == 0)
    assert graph.describe(tmp_path / "m.onnx").op_counts == {"Identity": 1} | ({"Constant": 1} if missing else {})
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)


def test_a_constant_that_is_the_output_stays(tmp_path: Path) -> None:
    written = graph.write(model([helper.make_node("Constant", [], ["y"], value=weight("v", 3))]), tmp_path, "m")
    assert written.files == ("m.onnx",)
    assert run(tmp_path / "m.onnx")[0] == 3


def test_constants_of_branches_are_external_in_their_branch(tmp_path: Path) -> None:
    written = graph.write(branching(), tmp_path, "m")
    assert (tmp_path / written.files[1]).stat().st_size == 2 * LARGE
    assert (tmp_path / "m.onnx").stat().st_size < 2000
    assert run(tmp_path / "m.onnx")[0] == 2


def test_strings_and_empty_tensors_stay(tmp_path: Path) -> None:
    strings = helper.make_tensor("strings", TensorProto.STRING, [LARGE], [b"word"] * LARGE)
    empty = numpy_helper.from_array(np.zeros((0, 3), np.float32), "empty")
    nodes = [helper.make_node("Constant", [], ["c"], value=strings), helper.make_node("Identity", ["c"], ["y"])]
    written = graph.write(model(nodes, [empty], kind=TensorProto.STRING), tmp_path, "m")
    assert written.files == ("m.onnx",)
    assert graph.describe(tmp_path / "m.onnx").outputs == (("y", "string", ("n",)),)
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)


def test_a_tensor_of_the_module_is_hashed_once_until_it_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    monkeypatch.setattr(weights, "_hashed", lambda tensor: hashed.append(tensor.name) or f"digest {len(hashed)}")
    values = torch.zeros(4)
    graphs = [tensor_adapters.TorchTensor(values, name=name) for name in ("a", "b", "c")]
    assert [weights._digest(tensor) for tensor in graphs[:2]] == ["digest 1", "digest 1"]
    values += 1
    assert weights._digest(graphs[2]) == "digest 2"
    array = ir.Tensor(np.zeros(4))
    assert weights._digest(array) != weights._digest(array)
