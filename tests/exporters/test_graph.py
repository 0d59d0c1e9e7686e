from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters import graph

FLOATS = graph.LARGE // 4
"""Elements of float32 from which on a tensor is large."""


def model(
    nodes: Sequence[onnx.NodeProto], weights: Sequence[onnx.TensorProto] = (), kind: int = TensorProto.FLOAT, opset: int = 20
) -> ir.Model:
    """One input `x` and one output `y` of one dynamic axis."""
    ends = [helper.make_tensor_value_info(name, kind, ["n"]) for name in ("x", "y")]
    proto = helper.make_graph(list(nodes), "g", ends[:1], ends[1:], initializer=list(weights))
    return ir.from_proto(helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=10))


def weight(name: str, *elements: float, size: int = FLOATS, dtype: str = "float32") -> onnx.TensorProto:
    return numpy_helper.from_array(np.resize(np.array(elements, dtype), size), name)


def total(*names: str) -> list[onnx.NodeProto]:
    return [helper.make_node("Sum", ["x", *names], ["y"], name="sum")]


def run(path: Path, size: int = FLOATS) -> np.ndarray:
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.zeros(size, np.float32)})[0]


def test_small_tensors_stay_and_large_ones_are_stored_once_sorted_by_digest(tmp_path: Path) -> None:
    weights = [weight("a", 1, 2), weight("b", 3), weight("same", 1, 2), weight("small", 5, size=FLOATS - 1)]
    written = graph.write(model(total("a", "b", "same"), weights), tmp_path, "m")
    assert (written.files[0], written.opset) == ("m.onnx", 20)
    digests = sorted(hashlib.sha256(tensor.raw_data).hexdigest() for tensor in weights[:2])
    assert written.files[1] == f"weights-{hashlib.sha256(''.join(digests).encode()).hexdigest()[:12]}.data"
    data = (tmp_path / written.files[1]).read_bytes()
    assert len(data) == 2 * graph.LARGE
    assert [hashlib.sha256(data[k : k + graph.LARGE]).hexdigest() for k in (0, graph.LARGE)] == digests
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
    assert sorted(value.const_value.offset for value in loaded) == [0, graph.LARGE + graph.ALIGNMENT]
    assert (tmp_path / written.files[1]).stat().st_size == 2 * graph.LARGE + graph.ALIGNMENT + 4


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
    tensor = weight("value", 1, size=graph.LARGE // np.dtype(dtype).itemsize - missing, dtype=dtype)
    nodes = [helper.make_node("Constant", [], ["c"], value=tensor), helper.make_node("Identity", ["c"], ["y"])]
    written = graph.write(model(nodes, kind=tensor.data_type), tmp_path, "m")
    assert (len(written.files) == 2) == (missing == 0)
    assert graph.describe(tmp_path / "m.onnx").op_counts == {"Identity": 1} | ({"Constant": 1} if missing else {})
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)


def test_a_constant_that_is_the_output_stays(tmp_path: Path) -> None:
    written = graph.write(model([helper.make_node("Constant", [], ["y"], value=weight("v", 3))]), tmp_path, "m")
    assert written.files == ("m.onnx",)
    assert run(tmp_path / "m.onnx")[0] == 3


def branching() -> ir.Model:
    """Each branch has a constant of its own, of one name, as ONNX allows."""
    branches = {}
    for branch, element in (("then_branch", 1), ("else_branch", 2)):
        constant = helper.make_node("Constant", [], ["c"], value=weight("c", element))
        answer = helper.make_tensor_value_info(branch, TensorProto.FLOAT, ["n"])
        branches[branch] = helper.make_graph([constant, helper.make_node("Sum", ["x", "c"], [branch])], branch, [], [answer])
    return model(
        [
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Cast", ["sum"], ["loud"], to=TensorProto.BOOL),
            helper.make_node("If", ["loud"], ["y"], **branches),
        ]
    )


def test_constants_of_branches_are_external_in_their_branch(tmp_path: Path) -> None:
    written = graph.write(branching(), tmp_path, "m")
    assert (tmp_path / written.files[1]).stat().st_size == 2 * graph.LARGE
    assert (tmp_path / "m.onnx").stat().st_size < 2000
    assert run(tmp_path / "m.onnx")[0] == 2


def test_strings_and_empty_tensors_stay(tmp_path: Path) -> None:
    strings = helper.make_tensor("strings", TensorProto.STRING, [graph.LARGE], [b"word"] * graph.LARGE)
    empty = numpy_helper.from_array(np.zeros((0, 3), np.float32), "empty")
    nodes = [helper.make_node("Constant", [], ["c"], value=strings), helper.make_node("Identity", ["c"], ["y"])]
    written = graph.write(model(nodes, [empty], kind=TensorProto.STRING), tmp_path, "m")
    assert written.files == ("m.onnx",)
    assert graph.describe(tmp_path / "m.onnx").outputs == (("y", "string", ("n",)),)
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)


def test_metadata_is_taken_out_everywhere_and_tells_the_lines(tmp_path: Path) -> None:
    marked = branching()
    place = f'File "{Path(__file__)}", line 7, in forward'
    for node in ir.traversal.RecursiveGraphIterator(marked.graph):
        node.metadata_props["pkg.torch.onnx.stack_trace"] = place
        node.doc_string = place
        for value in node.outputs:
            value.doc_string = place
    for part in marked.graphs():
        part.doc_string = place
        part.metadata_props["where"] = place
    marked.graph.inputs[0].metadata_props["where"] = place
    marked.doc_string = place
    written = graph.write(marked, tmp_path, "m")
    assert b"test_graph" not in (tmp_path / "m.onnx").read_bytes()
    assert set(written.sources.values()) == {"tests/exporters/test_graph.py:7 in forward"}
    assert len(written.sources) == 7


def test_inputs_come_in_the_declared_order() -> None:
    inputs = [ir.Value(name=name) for name in ("b", "added", "a")]
    made = ir.Model(ir.Graph(inputs, [], nodes=[]), ir_version=10)
    graph.order_inputs(made, ["a", "dropped", "b"])
    assert [value.name for value in made.graph.inputs] == ["a", "b", "added"]


def test_weights_are_no_inputs_even_where_the_format_was_too_old() -> None:
    old = model(total("w"), [weight("w", 1, size=4)])
    old.ir_version = 3
    old.graph.inputs.append(old.graph.initializers["w"])
    graph.separate_weights(old)
    assert ([value.name for value in old.graph.inputs], old.ir_version) == (["x"], 4)


def test_names_by_place_keep_the_interface_and_reach_into_branches(tmp_path: Path) -> None:
    named = branching()
    graph.name_by_place(named)
    names = [node.name for node in ir.traversal.RecursiveGraphIterator(named.graph)]
    assert names == ["/ReduceSum_0", "/Cast_0", "/If_0", "/Constant_0", "/Sum_0", "/Constant_1", "/Sum_1"]
    assert ([v.name for v in named.graph.inputs], [v.name for v in named.graph.outputs]) == (["x"], ["y"])
    graph.write(named, tmp_path, "m")
    assert run(tmp_path / "m.onnx")[0] == 2


def test_a_file_describes_itself(tmp_path: Path) -> None:
    graph.write(branching(), tmp_path, "m")
    (tmp_path / graph.write(branching(), tmp_path, "m").files[1]).unlink()
    assert graph.describe(tmp_path / "m.onnx") == graph.Description(
        opset=20,
        ir_version=10,
        op_counts={"Cast": 1, "If": 1, "ReduceSum": 1, "Sum": 2},
        inputs=(("x", "float32", ("n",)),),
        outputs=(("y", "float32", ("n",)),),
    )


def test_operators_of_other_domains_and_of_functions_are_counted(tmp_path: Path) -> None:
    own = helper.make_opsetid("own", 1)
    body = [helper.make_node("Relu", ["a"], ["r"]), helper.make_node("Neg", ["r"], ["b"])]
    function = helper.make_function("own", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 20)])
    ends = [helper.make_tensor_value_info(name, TensorProto.BFLOAT16, shape) for name, shape in (("x", [None, 2]), ("y", []))]
    proto = helper.make_graph([helper.make_node("Twice", ["x"], ["y"], domain="own")], "g", ends[:1], ends[1:])
    made = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 20), own], functions=[function], ir_version=10)
    onnx.save(made, tmp_path / "m.onnx")
    described = graph.describe(tmp_path / "m.onnx")
    assert described.op_counts == {"Neg": 1, "Relu": 1, "own::Twice": 1}
    assert (described.inputs, described.outputs) == ((("x", "bfloat16", (None, 2)),), (("y", "bfloat16", ()),))
