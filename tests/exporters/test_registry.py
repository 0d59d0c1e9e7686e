from __future__ import annotations

import re
import warnings
from pathlib import Path

import onnx
import pytest
import torch

from exporters import graph
from exporters.base import CaptureError, Dim, Emission, Progress, Step
from exporters.registry import EXPORTERS
from tests.declared import OPTIONS
from tests.exporters import samples
from tests.exporters.samples import example, export, mixed, one_input, spec

ALL = pytest.mark.parametrize("name", EXPORTERS)


@ALL
def test_files_are_named_after_exporter_opset_and_weights_and_answer_as_eager_does(name: str, tmp_path: Path) -> None:
    module, inputs = mixed()
    first, second = sorted(export(name, module, inputs, tmp_path, (18, 20)), key=lambda emission: emission.opset)
    assert [first.files[0], second.files[0]] == [f"{name}-opset18.onnx", f"{name}-opset20.onnx"]
    assert re.fullmatch(r"weights-[0-9a-f]{12}\.data", first.files[1])
    assert first.files[1:] == second.files[1:]
    assert {path.name for path in tmp_path.iterdir()} == {*first.files, *second.files}
    assert (first.opset_actual, second.opset_actual) == (18, 20)
    assert first.capture_seconds + second.capture_seconds > 0 and min(first.emit_seconds, second.emit_seconds) > 0
    for emission in (first, second):
        samples.assert_equal(tmp_path / emission.files[0], module, inputs)


def test_exporters_share_the_weights_file_where_their_large_tensors_are_equal(tmp_path: Path) -> None:
    module, inputs = mixed()
    assert len({export(name, module, inputs, tmp_path)[0].files[1] for name in EXPORTERS}) == 1


@ALL
def test_the_same_bytes_in_any_folder_and_whatever_the_process_did_before(name: str, tmp_path: Path) -> None:
    module, inputs = mixed()
    alone = export(name, module, inputs, tmp_path / "alone")[0]
    again = next(one for one in export(name, module, inputs, tmp_path / "again", (18, 20)) if one.opset == alone.opset)
    assert alone.files == again.files
    for file in alone.files:
        assert (tmp_path / "alone" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    assert alone.sources == again.sources


@ALL
def test_no_path_of_this_machine_is_in_a_file(name: str, tmp_path: Path) -> None:
    module, inputs = mixed()
    graph = (tmp_path / export(name, module, inputs, tmp_path)[0].files[0]).read_bytes()
    for private in (str(tmp_path), str(Path(samples.__file__).parents[2]), "site-packages", str(Path.home()) + "/", ".py"):
        assert private.encode() not in graph


@ALL
def test_steps_are_announced_before_they_start(name: str, tmp_path: Path) -> None:
    items = EXPORTERS[name](
        torch.nn.Linear(4, 4).eval(), one_input("batch", 4), samples.BATCH, (18, 20), OPTIONS[name], tmp_path
    )
    told = [(item.step, item.opset) if isinstance(item, Progress) else ("done", item.opset) for item in items]
    (first, *_), done = told[1], [opset for step, opset in told if step == "done"]
    assert told[0] == (Step.CAPTURE, None) and first is Step.EMIT
    assert told[1:] == [step for k in done for step in ((Step.EMIT, k), ("done", k))]
    assert sorted(done) == [18, 20]


@ALL
def test_one_opset_is_captured_for_itself(name: str, tmp_path: Path) -> None:
    items = EXPORTERS[name](torch.nn.Linear(4, 4).eval(), one_input("batch", 4), samples.BATCH, (18,), OPTIONS[name], tmp_path)
    told = [(item.step, item.opset) if isinstance(item, Progress) else ("done", item.opset) for item in items]
    assert told == [(Step.CAPTURE, 18), (Step.EMIT, 18), ("done", 18)]


@ALL
def test_nodes_lead_to_lines_of_the_model(name: str, tmp_path: Path) -> None:
    module, inputs = mixed()
    emission = export(name, module, inputs, tmp_path)[0]
    assert emission.sources
    assert {re.sub(r":\d+( in forward)?$", "", line) for line in emission.sources.values()} == {"tests/exporters/samples.py"}


MODES = {
    "eval": lambda module: module.eval(),
    "train": lambda module: module.train(),
    "one submodule in training mode": lambda module: module.eval().norm.train(),
    "one submodule in eval mode": lambda module: module.train().dropout.eval(),
}


@ALL
@pytest.mark.parametrize("mode", MODES)
def test_the_module_is_left_as_it_was(name: str, mode: str, tmp_path: Path) -> None:
    module = samples.Statistics()
    MODES[mode](module)
    before = state(module)
    export(name, module, one_input("batch", 4), tmp_path)
    assert state(module) == before


@ALL
def test_the_module_is_left_as_it_was_when_the_export_fails(name: str, tmp_path: Path) -> None:
    module = torch.nn.Sequential(samples.Statistics(), samples.Refused()).train()
    module[0].dropout.eval()
    before = state(module)
    with pytest.raises(Exception, match="linalg_eig"):
        export(name, module, one_input(4, 4), tmp_path)
    assert state(module) == before
    assert list(tmp_path.iterdir()) == []


@ALL
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_consumer_may_leave_after_any_step(name: str, steps: int, tmp_path: Path) -> None:
    module = samples.Statistics().eval()
    module.dropout.train()
    before, show = state(module), warnings.showwarning
    items = EXPORTERS[name](module, one_input("batch", 4), samples.BATCH, (18, 20), OPTIONS[name], tmp_path)
    for _ in range(steps):
        next(items)
        assert (state(module), warnings.showwarning) == (before, show)
    items.close()
    assert {path.suffix for path in tmp_path.iterdir()} <= {".onnx", ".data"}


def state(module: torch.nn.Module) -> dict[str, object]:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return {
        "flags": [submodule.training for submodule in module.modules()],
        "tensors": {name: (id(tensor), tensor.requires_grad, tensor.tolist()) for name, tensor in tensors},
    }


@ALL
@pytest.mark.parametrize("order", ["x a b ignored", "x ignored b a", "x b a ignored"])
def test_keyword_inputs_come_in_any_order_and_the_artifact_keeps_it(name: str, order: str, tmp_path: Path) -> None:
    module = samples.Subtracts().eval()
    specs = [spec(parameter, "batch", 4, keyword=parameter != "x") for parameter in order.split()]
    inputs = example(*specs)
    path = tmp_path / export(name, module, inputs, tmp_path)[0].files[0]
    taken = [value.name for value in onnx.load(path).graph.input]
    assert [parameter for parameter in taken if parameter != "ignored"] == [p for p in order.split() if p != "ignored"]
    samples.assert_equal(path, module, inputs)


@pytest.mark.parametrize("name", ["dynamo", "torchscript"])
def test_variadic_parameters(name: str, tmp_path: Path) -> None:
    module = samples.Variadic().eval()
    inputs = example(spec("first", "batch", 4), spec("second", "batch", 4))
    path = tmp_path / export(name, module, inputs, tmp_path)[0].files[0]
    assert [value.name for value in onnx.load(path).graph.input] == ["first", "second"]
    samples.assert_equal(path, module, inputs)


@ALL
def test_a_dimension_may_be_used_by_several_inputs_and_axes(name: str, tmp_path: Path) -> None:
    module = samples.Product().eval()
    dims = {**samples.BATCH, "length": Dim(name="length", min=2, max=9)}
    specs = spec("mask", "batch", "length", "length"), spec("x", "batch", "length", 4)
    path = tmp_path / export(name, module, example(*specs, sizes={"batch": 3, "length": 5}), tmp_path, dims=dims)[0].files[0]
    samples.assert_equal(path, module, example(*specs, sizes={"batch": 2, "length": 7}))


@ALL
def test_a_dimension_of_one_size_is_static(name: str, tmp_path: Path) -> None:
    dims = {"batch": Dim(name="batch", min=3, max=3)}
    path = tmp_path / export(name, torch.nn.Linear(4, 4).eval(), one_input("batch", 4), tmp_path, dims=dims)[0].files[0]
    assert graph.describe(path).inputs == (("x", "float32", (3, 4)),)


@ALL
def test_an_opset_that_fails_is_that_opsets_own_failure(name: str, tmp_path: Path) -> None:
    """The exporter says which one it works for; what it yielded before stays."""
    last: Progress | None = None
    emitted: list[int] = []
    with pytest.raises(Exception) as caught:
        for item in EXPORTERS[name](samples.Refused().eval(), one_input(4, 4), {}, (20, 18), OPTIONS[name], tmp_path):
            if isinstance(item, Emission):
                emitted.append(item.opset)
            else:
                last = item
    assert not isinstance(caught.value, CaptureError)
    assert "\n" not in str(caught.value).strip()
    assert (last, emitted) == (Progress(step=Step.CAPTURE, opset=20), [])


@ALL
def test_half_precision(name: str, tmp_path: Path) -> None:
    module = torch.nn.Linear(300, 300).to(torch.bfloat16).eval()
    inputs = example(spec("x", "batch", 300))
    inputs = samples.with_values(inputs, {"x": inputs.values["x"].to(torch.bfloat16)})
    emission = export(name, module, inputs, tmp_path)[0]
    assert graph.describe(tmp_path / emission.files[0]).inputs == (("x", "bfloat16", ("batch", 300)),)
    assert len(emission.files) == 2
    onnx.checker.check_model(tmp_path / emission.files[0], full_check=True)


@pytest.mark.parametrize("name", EXPORTERS)
def test_weights_are_inputs_as_well_if_asked(name: str, tmp_path: Path) -> None:
    module, inputs = samples.mixed()
    emission = samples.export(name, module, inputs, tmp_path, keep_initializers_as_inputs=True)[0]
    found = onnx.load(tmp_path / emission.files[0], load_external_data=False).graph
    weights = {tensor.name for tensor in found.initializer}
    assert weights
    assert found.input[0].name == "image"
    assert {value.name for value in found.input} == {"image"} | weights
    assert set(emission.weights_as_inputs) == weights
    samples.assert_equal(tmp_path / emission.files[0], module, inputs)
