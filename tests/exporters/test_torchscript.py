from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

import onnx
import pytest
import torch

from exporters import graph, weights
from exporters.base import CaptureError, ExporterWarning
from tests.exporters import samples
from tests.exporters.samples import export, one_input

BOTH = pytest.mark.parametrize("name", ["torchscript", "torchscript_script"])
BRANCH = next(
    k for k, line in enumerate(Path(samples.__file__).read_text().splitlines(), 1) if "the line of the branch" in line
)


@BOTH
def test_a_submodule_that_is_meant_to_train_is_exported_so(name: str, tmp_path: Path) -> None:
    module = samples.Statistics().eval()
    module.norm.train()
    inputs = one_input("batch", 4)
    samples.assert_equal(tmp_path / export(name, module, inputs, tmp_path)[0].files[0], module, inputs)


@BOTH
@pytest.mark.parametrize("opset", [7, 23])
def test_the_oldest_and_newest_opsets_are_honoured(name: str, opset: int, tmp_path: Path) -> None:
    module, inputs = samples.mixed()
    emission = export(name, module, inputs, tmp_path, (opset,))[0]
    assert emission.opset_actual == opset
    assert [value.name for value in onnx.load(tmp_path / emission.files[0]).graph.input] == ["image"]
    samples.assert_equal(tmp_path / emission.files[0], module, inputs)


@BOTH
def test_an_opset_beyond_the_exporter_raises_for_that_opset_only(name: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Unsupported onnx_opset_version: 24") as caught:
        export(name, torch.nn.Linear(4, 4).eval(), one_input("batch", 4), tmp_path, (24,))
    assert not isinstance(caught.value, CaptureError)


def test_a_trace_that_froze_a_branch_warns_with_the_models_line(tmp_path: Path) -> None:
    emission = export("torchscript", samples.Branching().eval(), one_input("batch", 4), tmp_path)[0]
    assert [(w.category, w.source) for w in emission.warnings] == [("TracerWarning", f"tests/exporters/samples.py:{BRANCH}")]
    assert emission.ranges is None


def test_a_checked_trace_gives_the_same_artifact(tmp_path: Path) -> None:
    module, inputs = samples.mixed()
    plain = export("torchscript", module, inputs, tmp_path / "plain")[0]
    checked = export("torchscript", module, inputs, tmp_path / "checked", check_trace=True)[0]
    assert checked.warnings == ()
    assert (tmp_path / "plain" / plain.files[0]).read_bytes() == (tmp_path / "checked" / checked.files[0]).read_bytes()


def test_a_checked_trace_of_a_model_that_cannot_run_fails_the_capture(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"^RuntimeError: [^\n]*mat1 and mat2 shapes cannot be multiplied [^\n]*$"):
        export("torchscript", torch.nn.Linear(5, 4).eval(), one_input("batch", 4), tmp_path, check_trace=True)


def test_constants_are_folded_unless_told_otherwise(tmp_path: Path) -> None:
    inputs = one_input("batch", 3, 4)
    module = torch.nn.LSTM(4, 5, batch_first=True).eval()
    folded = export("torchscript", module, inputs, tmp_path)[0]
    few = graph.describe(tmp_path / folded.files[0]).op_counts
    plain = export("torchscript", module, inputs, tmp_path, do_constant_folding=False)[0]
    assert sum(few.values()) < sum(graph.describe(tmp_path / plain.files[0]).op_counts.values())


def test_scripting_keeps_both_sides_of_a_branch(tmp_path: Path) -> None:
    module, inputs = samples.Branching().eval(), one_input("batch", 4)
    emission = export("torchscript_script", module, inputs, tmp_path)[0]
    assert emission.warnings == ()
    for sign in (1, -1):
        values = {"x": inputs.values["x"].abs() * sign}
        samples.assert_equal(tmp_path / emission.files[0], module, samples.with_values(inputs, values))


def test_weights_that_scripting_turned_into_constants_of_a_branch_are_external(tmp_path: Path) -> None:
    module, inputs = samples.TwoBranches().eval(), one_input("batch", 5, 16)
    emission = export("torchscript_script", module, inputs, tmp_path)[0]
    assert (tmp_path / emission.files[0]).stat().st_size < weights.LARGE
    for sign in (1, -1):
        values = {"x": inputs.values["x"].abs() * sign}
        samples.assert_equal(tmp_path / emission.files[0], module, samples.with_values(inputs, values))


def test_what_cannot_be_compiled_fails_the_capture_with_the_models_line(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"^[^\n]+ \(at tests/exporters/samples.py:\d+\)$"):
        export("torchscript_script", samples.NotCompilable().eval(), one_input("batch", 4), tmp_path)


def test_what_compiles_and_cannot_run_fails_the_capture_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"^RuntimeError: [^\n]*mat1 and mat2 shapes cannot be multiplied [^\n]*$"):
        export("torchscript_script", torch.nn.Linear(5, 4).eval(), one_input("batch", 4), tmp_path)


@BOTH
def test_the_graph_is_not_printed(name: str, tmp_path: Path) -> None:
    printed = io.StringIO()
    with redirect_stdout(printed):
        emission = export(name, torch.nn.Linear(4, 4).eval(), one_input("batch", 4), tmp_path)[0]
    assert printed.getvalue() == ""
    assert all(isinstance(warning, ExporterWarning) for warning in emission.warnings)


def test_submodules_become_functions_of_the_file_if_asked(tmp_path: Path) -> None:
    module, inputs = samples.mixed()
    emissions = export("torchscript", module, inputs, tmp_path, (20, 17), export_modules_as_functions=True)
    for emission in emissions:
        proto = onnx.load(tmp_path / emission.files[0], load_external_data=False)
        assert {"Conv2d", "Linear", "Mixed"} <= {function.name for function in proto.functions}
        samples.assert_equal(tmp_path / emission.files[0], module, inputs)
    plain = export("torchscript", module, inputs, tmp_path / "plain")[0]
    assert len(onnx.load(tmp_path / "plain" / plain.files[0]).functions) == 0
