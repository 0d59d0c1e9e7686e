from __future__ import annotations

import hashlib
import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from orchestrator import given

WEIGHT_BYTES = 64


def write(folder: Path, location: str = "weights.data", offset: str = "0", length: str = str(WEIGHT_BYTES)) -> Path:
    """A graph of one weight in a data file, and the data file under its usual name."""
    (folder / "weights.data").write_bytes(bytes(WEIGHT_BYTES))
    weight = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        weight.external_data.add(key=key, value=value)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "weight"], ["y"])], "one", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def refusal(path: Path) -> str:
    with pytest.raises(given.UnfitError) as caught:
        given.read(path)
    assert "\n" not in str(caught.value)
    return f"{caught.value.check}: {caught.value}"


def test_the_manifest_is_made_from_what_is_there(tmp_path: Path) -> None:
    artifact = given.read(write(tmp_path))
    graph, data = artifact.files
    assert (data.name, data.bytes, data.sha256) == (
        "weights.data",
        WEIGHT_BYTES,
        hashlib.sha256(bytes(WEIGHT_BYTES)).hexdigest(),
    )
    assert graph.sha256 == hashlib.sha256((tmp_path / "model.onnx").read_bytes()).hexdigest()
    assert (artifact.opset, artifact.ir_version, artifact.op_counts) == (20, 10, {"MatMul": 1})
    assert [value.shape for value in (*artifact.inputs, *artifact.outputs)] == [("n", 4)] * 2


def test_data_in_a_folder_below_is_fine(tmp_path: Path) -> None:
    path = write(tmp_path, "below/weights.data")
    (tmp_path / "below").mkdir()
    (tmp_path / "weights.data").rename(tmp_path / "below/weights.data")
    assert [file.name for file in given.read(path).files] == ["model.onnx", "below/weights.data"]


def test_checksums_beside_the_file_are_believed(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "SHA256SUMS").write_text(f"{'a' * 64}  weights.data\n")
    assert given.read(path).files[1].sha256 == "a" * 64


@pytest.mark.parametrize("location", ["../weights.data", "/etc/hostname", "", "below/../../x", "..\\x"])
def test_data_outside_of_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    assert "is no path within the folder" in refusal(write(tmp_path, location))


def test_missing_data_is_refused(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, "gone.data")).startswith("delivery: weight: its data file gone.data is missing")


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "link.data")
    (tmp_path / "link.data").symlink_to("weights.data")
    assert "link.data is a link or no regular file" in refusal(path)


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    path = write(tmp_path / "inside", "link/weights.data")
    write(tmp_path)
    (tmp_path / "inside/link").symlink_to(tmp_path)
    assert "is a link or no regular file" in refusal(path)


def test_a_second_hard_link_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    os.link(tmp_path / "weights.data", tmp_path / "other")
    assert "weights.data has 2 hard links" in refusal(path)


def test_a_pipe_is_refused_and_not_opened(tmp_path: Path) -> None:
    path = write(tmp_path, "pipe")
    os.mkfifo(tmp_path / "pipe")
    assert "pipe is a link or no regular file" in refusal(path)


@pytest.mark.parametrize(("offset", "length"), [("32", "64"), ("0", "65"), ("999999999999999999999", "1")])
def test_a_tensor_beyond_the_end_of_its_data_is_refused(tmp_path: Path, offset: str, length: str) -> None:
    assert f"ends at byte {int(offset) + int(length)} of weights.data, which has 64" in refusal(
        write(tmp_path, offset=offset, length=length)
    )


@pytest.mark.parametrize("offset", ["-1", "here", "1e3"])
def test_an_offset_that_is_no_number_is_refused(tmp_path: Path, offset: str) -> None:
    assert refusal(write(tmp_path, offset=offset)).startswith("delivery: weight: ")


def test_data_of_constants_in_functions_is_found_too(tmp_path: Path) -> None:
    path = write(tmp_path)
    model = onnx.load(path, load_external_data=False)
    hidden = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    hidden.external_data.add(key="location", value="../secret")
    node = helper.make_node("Constant", [], ["c"], value=hidden)
    model.functions.append(helper.make_function("own", "F", [], ["c"], [node], [helper.make_opsetid("", 20)]))
    path.write_bytes(model.SerializeToString())
    assert "hidden: its data is in '../secret'" in refusal(path)


def length(count: int) -> bytes:
    encoded = b""
    while count > 127:
        encoded, count = encoded + bytes([count & 127 | 128]), count >> 7
    return encoded + bytes([count])


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + length(len(content)) + content


def nested(depth: int) -> bytes:
    """A model whose graph holds an If that holds a graph that holds an If …, written by hand since protobuf would refuse."""
    graph = b""
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, graph) + b"\xa0\x01\x05"
        graph = field(1, field(1, b"c") + field(2, b"o") + field(4, b"If") + field(5, attribute))
    return b"\x08\x0a" + field(7, graph) + field(8, field(1, b"") + b"\x10\x14")


@pytest.mark.parametrize("depth", [40, 5000])
def test_thousands_of_nested_subgraphs_are_refused(tmp_path: Path, depth: int) -> None:
    (tmp_path / "deep.onnx").write_bytes(nested(depth))
    assert "nested too deeply" in refusal(tmp_path / "deep.onnx")


def test_as_many_nested_subgraphs_as_protobuf_follows_are_read(tmp_path: Path) -> None:
    (tmp_path / "deep.onnx").write_bytes(nested(30))
    assert given.read(tmp_path / "deep.onnx").op_counts == {"If": 30}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "bad.onnx is empty"),
        (b"hello world" * 9, "bad.onnx is no ONNX file"),
        (b"\x08\x0a", "bad.onnx is no ONNX file: it holds no graph"),
    ],
    ids=["zero bytes", "text", "no graph"],
)
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    assert refusal(tmp_path / "bad.onnx").startswith(f"structure: {reason}")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, kept: float) -> None:
    data = write(tmp_path).read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[: int(len(data) * kept)])
    assert refusal(tmp_path / "cut.onnx").startswith("structure: cut.onnx")


def test_a_graph_that_contradicts_itself_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write(tmp_path)
    model = onnx.load(path, load_external_data=False)
    model.graph.node.append(helper.make_node("Identity", ["x"], ["y"]))
    model.graph.initializer[0].data_type = 99
    path.write_bytes(model.SerializeToString())
    assert refusal(path).startswith("structure: model.onnx cannot be read as a graph")
