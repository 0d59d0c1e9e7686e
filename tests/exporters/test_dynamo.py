from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import onnx
import pytest
import torch

from exporters import graph
from exporters.base import CaptureError, Dim
from tests.exporters import samples
from tests.exporters.samples import example, export, one_input, spec

BRANCH = next(
    k for k, line in enumerate(Path(samples.__file__).read_text().splitlines(), 1) if "the line of the branch" in line
)


def test_declared_ranges_are_obtained(tmp_path: Path) -> None:
    assert export("dynamo", torch.nn.Linear(4, 4).eval(), one_input("batch", 4), tmp_path)[0].ranges == {"batch": (1, 64)}


@pytest.mark.parametrize("largest", [64, None])
def test_a_guard_narrows_a_dimension_and_is_told(largest: int | None, tmp_path: Path) -> None:
    dims = {"batch": Dim(name="batch", min=1, max=largest)}
    ranges = export("dynamo", samples.Guarded().eval(), one_input("batch", 4), tmp_path, dims=dims)[0].ranges
    assert ranges is not None
    assert ranges["batch"][1] == 12


def test_a_dimension_that_a_loop_bakes_in_is_told(tmp_path: Path) -> None:
    assert export("dynamo", samples.Loop().eval(), one_input("batch", 4), tmp_path)[0].ranges == {"batch": (3, 3)}


def test_an_opset_that_was_not_honoured_is_told(tmp_path: Path) -> None:
    """The means of the model take their axes as an input from opset 18 on; torch says in its log only that it gave up."""
    module, inputs = samples.mixed()
    emission = export("dynamo", module, inputs, tmp_path, (15,))[0]
    assert (emission.opset, emission.opset_actual) == (15, 18)
    assert emission.files[0] == "dynamo-opset15.onnx"
    assert any(w.category == "WARNING" and "opset_version 15 is a lower version" in w.message for w in emission.warnings)


def test_two_axes_of_one_name_are_no_reason_to_warn(tmp_path: Path) -> None:
    inputs = example(spec("mask", "batch", 3, 3), spec("x", "batch", 3, 4))
    assert export("dynamo", samples.Product().eval(), inputs, tmp_path)[0].warnings == ()


def test_a_branch_on_values_fails_the_capture_in_one_line_that_names_the_models_line(tmp_path: Path) -> None:
    with pytest.raises(CaptureError) as caught:
        export("dynamo", samples.Branching().eval(), one_input("batch", 4), tmp_path)
    message = str(caught.value)
    assert message.startswith("forward decides by the values of a tensor")
    assert message.endswith(f"(at tests/exporters/samples.py:{BRANCH} in forward)")
    assert "\n" not in message
    assert caught.value.__cause__ is not None


def test_an_operator_without_translation_is_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(torch.onnx.errors.OnnxExporterError, match=r"^[^\n\x1b]*aten.linalg_eig[^\n\x1b]*$"):
        export("dynamo", samples.Refused().eval(), one_input(4, 4), tmp_path)


def test_the_graph_is_left_as_translated_unless_it_is_to_be_optimised(tmp_path: Path) -> None:
    module = torch.nn.LSTM(4, 5, batch_first=True).eval()
    optimised = export("dynamo", module, one_input("batch", 3, 4), tmp_path)[0]
    few = graph.describe(tmp_path / optimised.files[0]).op_counts
    plain = export("dynamo", module, one_input("batch", 3, 4), tmp_path, optimize=False)[0]
    assert sum(few.values()) < sum(graph.describe(tmp_path / plain.files[0]).op_counts.values())


def test_an_input_that_forward_ignores_stays(tmp_path: Path) -> None:
    specs = [spec(name, "batch", 4) for name in ("x", "a", "b", "ignored")]
    emission = export("dynamo", samples.Subtracts().eval(), example(*specs), tmp_path)[0]
    assert [value.name for value in onnx.load(tmp_path / emission.files[0]).graph.input] == ["x", "a", "b", "ignored"]


def test_named_variadic_parameters(tmp_path: Path) -> None:
    inputs = example(*(spec(name, "batch", 4, keyword=True) for name in ("b", "a")))
    module = samples.Named().eval()
    path = tmp_path / export("dynamo", module, inputs, tmp_path)[0].files[0]
    assert [value.name for value in onnx.load(path).graph.input] == ["b", "a"]
    samples.assert_equal(path, module, inputs)


def test_unnamed_outputs_are_named_by_the_exporter(tmp_path: Path) -> None:
    inputs = dataclasses.replace(one_input("batch", 4), outputs=())
    emission = export("dynamo", torch.nn.Linear(4, 4).eval(), inputs, tmp_path)[0]
    outputs = onnx.load(tmp_path / emission.files[0]).graph.output
    assert [bool(re.fullmatch(r"\w+", value.name)) for value in outputs] == [True]


def test_strict_mode_captures_through_dynamo_alone(tmp_path: Path) -> None:
    inputs = one_input("batch", 4)
    strict = export("dynamo", samples.SeesItsCompiler().eval(), inputs, tmp_path / "strict", strict=True)[0]
    plain = export("dynamo", samples.SeesItsCompiler().eval(), inputs, tmp_path / "plain")[0]
    assert graph.describe(tmp_path / "strict" / strict.files[0]).op_counts == {"Mul": 1}
    assert graph.describe(tmp_path / "plain" / plain.files[0]).op_counts == {"Add": 1}
    assert strict.ranges == plain.ranges == {"batch": (1, 64)}


def test_what_strict_mode_cannot_capture_fails_the_capture_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"^[^\n]+$"):
        export("dynamo", samples.Branching().eval(), one_input("batch", 4), tmp_path, strict=True)
