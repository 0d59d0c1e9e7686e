from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from orchestrator.verify.base import ArtifactError
from orchestrator.verify.carried import Carried, constants
from tests.verify import samples


def found(folder: Path, nodes: list[onnx.NodeProto], *initializers: onnx.TensorProto) -> dict[str, Carried]:
    """What a graph of these nodes carries, beside the weights file of a good artifact."""
    candidate = samples.pair(folder)
    graph = helper.make_graph(nodes, "graph", [], [], initializer=initializers)
    candidate.path.write_bytes(helper.make_model(graph).SerializeToString())
    return {item.name: item for item in constants(samples.subject(candidate))}


def constant(name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.eye(2, dtype=np.float32), name)


def test_constants_are_found_wherever_they_stand(tmp_path: Path) -> None:
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["attribute"], value=constant(""))], "then", [], [], initializer=[constant("inner")]
    )
    nodes = [helper.make_node("If", ["condition"], ["out"], then_branch=inner)]
    assert found(tmp_path, nodes, constant("outer")).keys() == {"outer", "inner", "attribute"}


@pytest.mark.parametrize(
    ("node", "turned"),
    [
        (helper.make_node("MatMul", ["x", "w"], ["y"]), {False}),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), {True}),
        (helper.make_node("Gemm", ["w", "x"], ["y"], transB=1), {False}),
        (helper.make_node("Add", ["x", "w"], ["y"]), set()),
    ],
)
def test_it_is_seen_how_products_take_a_matrix(tmp_path: Path, node: onnx.NodeProto, turned: set[bool]) -> None:
    assert found(tmp_path, [node], constant("w"))["w"].turned == turned
    through = [helper.make_node("Transpose", ["v"], ["w"], perm=[1, 0]), node]
    assert found(tmp_path, through, constant("v"))["v"].turned == {not value for value in turned}


def test_external_data_is_read_and_its_digest_is_that_of_the_values(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    external = [item for item in constants(samples.subject(candidate)) if item.tensor.data_location == TensorProto.EXTERNAL]
    assert {item.values.size for item in external} == {16 * 1200}
    embedded = numpy_helper.to_array(external[0].tensor, str(tmp_path))
    assert np.array_equal(external[0].values, embedded)


def test_external_data_that_is_cut_off_is_the_artifacts_fault(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    data = tmp_path / candidate.artifact.files[1].name
    data.write_bytes(data.read_bytes()[:100])
    items = constants(samples.subject(replace(candidate, folder=tmp_path)))
    with pytest.raises(ArtifactError, match="cannot be read from its external data"):
        [item.values for item in items]


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.int64, np.bool_])
def test_values_come_in_their_own_dtype(tmp_path: Path, dtype: type) -> None:
    values = np.array([[0, 1], [1, 1]]).astype(dtype)
    item = found(tmp_path, [], numpy_helper.from_array(values, "w"))["w"]
    assert item.values.dtype == dtype
    assert (item.values == values).all()
    assert item.is_floating == (dtype in (ml_dtypes.bfloat16, np.float16))


def test_what_an_operator_of_the_runtimes_own_takes_is_in_its_layout(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], domain="com.microsoft.nchwc"),
        helper.make_node("Conv", ["x", "v"], ["z"]),
    ]
    items = found(tmp_path, nodes, constant("w"), constant("v"))
    assert (items["w"].blocked, items["v"].blocked) == (True, False)
