from __future__ import annotations

from exporters.graph import Description
from orchestrator.artifact import described
from orchestrator.result import ValueInfo
from tests import synthetic


def test_an_artifact_is_its_files_and_what_its_graph_says() -> None:
    description = Description(
        opset=20,
        ir_version=10,
        op_counts={"Add": 2},
        inputs=(("x", "float32", ("batch", None, 3)),),
        outputs=(("y", "int64", ()),),
    )
    files = (synthetic.graph(), synthetic.weights())
    found = described(description, files, "exported")
    assert (found.files, found.opset, found.ir_version, found.op_counts) == (files, 20, 10, {"Add": 2})
    assert found.inputs == (ValueInfo(name="x", dtype="float32", shape=("batch", None, 3)),)
    assert found.outputs == (ValueInfo(name="y", dtype="int64", shape=()),)
    assert found.made_from == "exported"
