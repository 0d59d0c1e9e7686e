from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
from onnx import TensorProto, helper

from exporters import graph
from tests.exporters.graphs import branching, model, run, total, weight


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


def test_what_an_exporter_folded_is_named_by_place_and_the_modules_own_weights_keep_their_names() -> None:
    nodes = [helper.make_node("Sum", ["x", "own.weight", "own.weight_bias", "val_7", "scalar_tensor_default"], ["y"])]
    named = model(
        nodes, [weight(name, 1, size=1) for name in ("own.weight", "own.weight_bias", "val_7", "scalar_tensor_default")]
    )
    graph.name_by_place(named, {"own.weight"})
    assert list(named.graph.initializers) == ["own.weight", "own.weight_bias", "/folded_0", "/folded_1"]
    (node,) = named.graph
    assert [value.name for value in node.inputs] == ["x", "own.weight", "own.weight_bias", "/folded_0", "/folded_1"]


def test_a_stamped_graph_differs_in_its_stamps_alone(tmp_path: Path) -> None:
    made = model(total("a"), [weight("a", 1)])
    written = graph.write(made, tmp_path, "m")
    stamped = graph.stamp(written, tmp_path, "n", opset=21, ir_version=11)
    assert (stamped.files, stamped.opset) == (("n.onnx", *written.files[1:]), 21)
    first, second = (onnx.load(tmp_path / name, load_external_data=False) for name in ("m.onnx", "n.onnx"))
    assert (second.ir_version, second.opset_import[0].version) == (11, 21)
    assert first.graph == second.graph
    assert graph.digest_without_stamps(tmp_path / "m.onnx") == graph.digest_without_stamps(tmp_path / "n.onnx")


def test_another_weight_or_operator_is_no_matter_of_stamps(tmp_path: Path) -> None:
    for name, nodes, value in (("m", total("a"), 1), ("n", total("a"), 2), ("o", total("a", "a"), 1)):
        graph.write(model(nodes, [weight("a", value)]), tmp_path, name)
    assert len({graph.digest_without_stamps(tmp_path / f"{name}.onnx") for name in "mno"}) == 3


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
