from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters.base import Dim
from orchestrator import judge
from orchestrator.result import CellFinished, CellResult, Check, CheckStatus, Event, Stage, StageStarted, Status
from orchestrator.spec import UnitTask
from tests import foreign

THEIRS = {"x": "image", "g": "gain", "y": "logits", "z": "pooled"}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign.export(tmp_path_factory.mktemp("good") / "model.onnx")


def events(task: UnitTask, folder: Path) -> list[Event]:
    return list(judge.run(task, folder))


def judged(path: Path, **given: object) -> CellResult:
    (result,) = (e.result for e in events(foreign.task(path, path.parent, **given), path.parent) if isinstance(e, CellFinished))
    return result


def changed(good: Path, folder: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    """The good file with its weights inside, changed."""
    model = onnx.load(good)
    change(model)
    onnx.save(model, folder / "changed.onnx")
    return folder / "changed.onnx"


def statuses(result: CellResult) -> dict[str, CheckStatus]:
    return {check.id: check.status for check in result.checks}


def check(result: CellResult, name: str) -> Check:
    return next(check for check in result.checks if check.id == name)


def failed(result: CellResult) -> set[str]:
    return {name for name, status in statuses(result).items() if status is CheckStatus.FAILED}


def test_a_file_of_a_plain_script_passes_and_what_needs_the_export_is_not_applicable(good: Path) -> None:
    result = judged(good, compare_opset=False)
    assert (result.status, result.reason) == (Status.PASSED, "")
    assert statuses(result)["ranges"] is CheckStatus.NOT_APPLICABLE
    assert {name for name, status in statuses(result).items() if status is CheckStatus.PASSED} >= {
        "delivery",
        "structure",
        "interface",
        "parity",
        "shapes",
    }
    assert result.artifact is not None
    assert [file.name for file in result.artifact.files] == ["model.onnx", "model.onnx.data"]


def test_the_files_own_symbols_may_have_other_names(good: Path) -> None:
    (finding,) = judged(good).findings
    assert (finding.kind, finding.message) == ("dimension_names", "in the file batch is called n")


def test_the_stages_are_told_and_the_file_is_read_first(good: Path, tmp_path: Path) -> None:
    told = [event.stage for event in events(foreign.task(good, tmp_path), tmp_path) if isinstance(event, StageStarted)]
    assert told == [Stage.VERIFY, Stage.BUILD, Stage.REFERENCE, Stage.VERIFY]


@pytest.mark.parametrize("level", ["ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
def test_what_onnxruntimes_optimiser_saved_passes(good: Path, level: str) -> None:
    optimised = good.parent / f"{level}.onnx"  # beside the data that it goes on to refer to
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(optimised)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(good, options, providers=["CPUExecutionProvider"])
    result = judged(optimised)
    assert result.artifact is not None
    assert any(name.startswith("com.microsoft") for name in result.artifact.op_counts)
    assert result.status is Status.PASSED, result.reason


def test_a_domain_that_no_runtime_knows_is_refused(good: Path, tmp_path: Path) -> None:
    def strange(model: onnx.ModelProto) -> None:
        model.graph.node[0].domain = "my.own"
        model.opset_import.append(helper.make_opsetid("my.own", 1))

    assert "structure" in failed(judged(changed(good, tmp_path, strange)))


def test_other_names_pass_where_they_are_mapped_and_fail_where_not(tmp_path: Path) -> None:
    path = foreign.export(tmp_path / "model.onnx", names=tuple(THEIRS))
    assert judged(path, names=THEIRS).status is Status.PASSED
    assert failed(judged(path)) >= {"interface"}
    assert failed(judged(path, names={**THEIRS, "x": "gain", "g": "image"})) >= {"interface"}


def test_inputs_may_come_in_another_order_but_answers_may_not(good: Path, tmp_path: Path) -> None:
    def inputs(model: onnx.ModelProto) -> None:
        order = [*reversed(model.graph.input)]
        del model.graph.input[:]
        model.graph.input.extend(order)

    def outputs(model: onnx.ModelProto) -> None:
        order = [*reversed(model.graph.output)]
        del model.graph.output[:]
        model.graph.output.extend(order)

    result = judged(changed(good, tmp_path, inputs))
    assert result.status is Status.PASSED
    assert any(finding.kind == "input_order" for finding in result.findings)
    assert "interface" in failed(judged(changed(good, tmp_path, outputs)))


def test_a_baked_batch_is_refused(tmp_path: Path) -> None:
    assert failed(judged(foreign.export(tmp_path / "model.onnx", dynamic=False))) >= {"interface"}


def test_a_batch_that_is_baked_behind_a_dynamic_name_is_refused(tmp_path: Path) -> None:
    def pretend(model: onnx.ModelProto) -> None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "n"

    path = changed(foreign.export(tmp_path / "model.onnx", dynamic=False), tmp_path, pretend)
    assert judged(path).status is Status.CHECK_FAILED


def test_a_symbol_that_stands_for_two_declared_dimensions_is_refused(tmp_path: Path) -> None:
    path = foreign.export(tmp_path / "model.onnx")
    task = foreign.task(path, tmp_path)
    model = task.unit.model
    inputs = (model.inputs[0], replace(model.inputs[1], shape=("other", 1)))
    model = replace(model, inputs=inputs, dims={**model.dims, "other": Dim(name="other", min=1, max=1)})
    task = replace(task, unit=replace(task.unit, model=model))
    (result,) = (event.result for event in events(task, tmp_path) if isinstance(event, CellFinished))
    assert "input gain has shape [n, 1] instead of [other, 1]" in check(result, "interface").detail


def test_a_dropped_output_is_refused(good: Path, tmp_path: Path) -> None:
    assert "interface" in failed(judged(changed(good, tmp_path, lambda model: model.graph.output.pop() and None)))


def test_a_renamed_output_is_refused(good: Path, tmp_path: Path) -> None:
    def rename(model: onnx.ModelProto) -> None:
        name = model.graph.output[1].name
        model.graph.node.append(helper.make_node("Identity", [name], ["other"]))
        model.graph.output[1].name = "other"

    result = judged(changed(good, tmp_path, rename))
    assert "interface" in failed(result)
    assert "pooled is not in the artifact" in result.reason


def test_a_weight_scaled_by_one_percent_is_refused(good: Path, tmp_path: Path) -> None:
    def scale(model: onnx.ModelProto) -> None:
        largest = max(model.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
        weight = numpy_helper.to_array(largest) * np.float32(1.01)
        largest.CopyFrom(numpy_helper.from_array(weight, largest.name))

    assert failed(judged(changed(good, tmp_path, scale))) >= {"parity", "shapes"}


def test_another_opset_is_refused_where_one_was_asked_for(good: Path, tmp_path: Path) -> None:
    def lower(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = 19

    path = changed(good, tmp_path, lower)
    result = judged(path)
    assert failed(result) == {"structure"}
    assert "asked for opset 20, the file is opset 19" in result.reason
    assert judged(path, compare_opset=False).status is Status.PASSED


def test_inputs_that_do_not_fit_the_model_are_refused(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n"]) for name in ("image", "gain", "logits", "pooled")]
    nodes = [helper.make_node("Neg", ["image"], ["logits"]), helper.make_node("Neg", ["gain"], ["pooled"])]
    graph = helper.make_graph(nodes, "wrong", values[:2], values[2:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "wrong.onnx")
    result = judged(tmp_path / "wrong.onnx")
    assert result.status is Status.CHECK_FAILED
    assert "interface" in failed(result)


def test_a_file_that_nothing_may_load_costs_no_model_and_says_what_was_not_run(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    task = foreign.task(tmp_path / "empty.onnx", tmp_path)
    assert [e.stage for e in events(task, tmp_path) if isinstance(e, StageStarted)] == [Stage.VERIFY]
    result = judged(tmp_path / "empty.onnx")
    assert (result.status, result.reason) == (Status.CHECK_FAILED, "structure: empty.onnx is empty")
    others = {status for name, status in statuses(result).items() if name not in ("structure", "ranges", "untouched")}
    assert others == {CheckStatus.ERROR}


def test_a_model_that_cannot_be_built_is_told_in_its_stage(good: Path, tmp_path: Path) -> None:
    task = foreign.task(good, tmp_path)
    untrusting = replace(task, trust=())
    (result,) = (event.result for event in events(untrusting, tmp_path) if isinstance(event, CellFinished))
    assert result.error is not None
    assert (result.status, result.error.stage, result.error.kind) == (Status.EXPORT_FAILED, Stage.BUILD, "untrusted")


def test_cells_that_have_a_verdict_are_not_judged_again(good: Path, tmp_path: Path) -> None:
    task = foreign.task(good, tmp_path)
    done = replace(task, done=(foreign.CELL,))
    assert events(done, tmp_path) == []
