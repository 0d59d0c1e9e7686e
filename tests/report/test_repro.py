from __future__ import annotations

import ast
import math
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from exporters.base import Dim, TensorSpec
from orchestrator.build.module import build
from orchestrator.report.repro import render
from orchestrator.spec import (
    BuildSpec,
    Cell,
    ExporterSpec,
    Limits,
    ModelSpec,
    OutputSpec,
    Target,
    Unit,
    VerifyLevel,
    VerifySpec,
    WeightsSpec,
)
from orchestrator.verify.probes import draw, plan_probes
from tests.declared import EXPORTERS, NAMES, OPTIONS, declared

STANDARD = VerifyLevel.STANDARD
FACTORIES = Path(__file__).parents[1] / "build" / "factories_of_models.py"
CPU = Target(name="cpu", device="cpu", provider="CPUExecutionProvider")
REFERENCE = Target(name="reference", device="cpu", provider="ReferenceEvaluator")


def script(model: ModelSpec, exporter: str, opset: int = 20, target: Target = CPU, **options: Any) -> str:
    cell = Cell(id=f"{model.name}-{exporter}-opset{opset}-float32-{target.name}", opset=opset, target=target)
    unit = Unit(
        id=model.name,
        model=model,
        exporter=ExporterSpec(name=exporter, options={**OPTIONS.get(exporter, {}), **options}),
        dtype="float32",
        verify=VerifySpec(level=VerifyLevel.STANDARD, seed=0, k=8),
        limits=Limits(seconds=1, memory=1, log=1),
        cells=(cell,),
    )
    return render(unit, cell)


def made(**changes: Any) -> ModelSpec:
    return ModelSpec(
        **{
            "name": "made",
            "build": BuildSpec(target="mypkg.models.Net", arguments={}),
            "weights": WeightsSpec(seed=3),
            "dims": {"batch": Dim(name="batch", min=1, max=None)},
            "inputs": (TensorSpec(name="x", shape=("batch", 3), dtype="float32"),),
            "outputs": (OutputSpec(name="y"),),
            **changes,
        }
    )


def imports(text: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                found |= {item.name.partition(".")[0] for item in names}
            case ast.ImportFrom(module=str(module)):
                found.add(module.partition(".")[0])
            case _:
                pass
    return found


def function(text: str, name: str) -> str:
    return next(ast.unparse(node) for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_script_compiles_and_imports_nothing_of_ours(name: str, exporter: str) -> None:
    text = script(declared(name), exporter)
    compile(text, "repro.py", "exec")
    assert imports(text) & {"orchestrator", "exporters", "hydra", "omegaconf", "ray"} == set()


def test_scripts_of_small_models_say_what_the_run_said(tmp_path: Path) -> None:
    expected = {
        ("early_exit", "dynamo"): (0, "case quiet: scores: error"),
        ("early_exit", "torchscript"): (1, "is above"),
        ("early_exit", "torchscript_script"): (0, "case quiet: scores: error"),
        ("lstm", "torchscript"): (0, "sequence=1: state: error"),
    }
    targets = {("early_exit", "dynamo"): REFERENCE}
    running = {}
    for model, exporter in expected:
        folder = tmp_path / f"{model}-{exporter}"
        folder.mkdir()
        text = script(declared(model), exporter, target=targets.get((model, exporter), CPU))
        (folder / "repro.py").write_text(text, encoding="utf-8")
        command = [sys.executable, "-P", "repro.py", "out"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
        environment.pop("PYTHONPATH", None)
        running[model, exporter] = subprocess.Popen(
            command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    for case, process in running.items():
        output, _ = process.communicate(timeout=250)
        code, said = expected[case]
        assert process.returncode == code, output
        assert said in output
        assert (tmp_path / "-".join(case) / "out" / "model.onnx").is_file()


def test_what_rounding_leaves_of_zero_is_measured_by_the_size_on_the_first_inputs(tmp_path: Path) -> None:
    text = script(made(build=BuildSpec(target="torch.nn.Identity", arguments={})), "dynamo")
    (tmp_path / "repro.py").write_text(text, encoding="utf-8")
    names = runpy.run_path(str(tmp_path / "repro.py"))
    written = SimpleNamespace(graph=SimpleNamespace(input=[SimpleNamespace(name="x")], output=[SimpleNamespace(name="y")]))
    left = SimpleNamespace(run=lambda *_: [np.full((1, 3), 1e-8, np.float32)])
    right = SimpleNamespace(run=lambda _, inputs: [inputs["x"]])
    scales: list[float] = []

    def problems(session: SimpleNamespace, values: torch.Tensor) -> list[str]:
        exact = torch.nn.Identity()
        return [*names["differences"](written, session, torch.nn.Identity(), exact, "probe", {"x": values}, scales)]

    assert problems(left, torch.zeros(1, 3))
    scales.clear()
    assert not problems(right, torch.ones(2, 3))
    assert not problems(left, torch.zeros(1, 3))


@pytest.mark.parametrize("name", ["early_exit", "lstm", "mobilenet_v3_small"])
def test_a_script_builds_and_draws_what_the_run_builds_and_draws(name: str, tmp_path: Path) -> None:
    (tmp_path / "repro.py").write_text(script(declared(name), "dynamo"), encoding="utf-8")
    copied = runpy.run_path(str(tmp_path / "repro.py"))
    ours, theirs = build(declared(name), "float32", (), tmp_path).module.state_dict(), copied["build"]().state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    drawn = list(copied["probes"]())
    for probe, (title, inputs) in zip(plan_probes(declared(name), VerifyLevel.STANDARD, 0), drawn, strict=True):
        assert title == probe.name
        expected = draw(probe.specs, probe.sizes, probe.seed, "float32")
        assert all(torch.equal(inputs[key], expected[key]) for key in expected)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_script_asks_an_exportable_module_as_the_run_did(
    exporter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(FACTORIES.parent)
    model = made(
        build=BuildSpec(target=f"{FACTORIES.stem}.Exportable", arguments={}),
        dims={"sequence": Dim(name="sequence", min=1, max=16)},
        inputs=(),
        outputs=(),
        rename={"parts.0": "weighted"},
        exportable=True,
    )
    (tmp_path / "repro.py").write_text(script(model, exporter), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(FACTORIES.parent)}
    done = subprocess.run(
        [sys.executable, "repro.py", "out"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for said in ("example: hidden: error", "sequence=1: weighted: error", "batch=1: hidden"):
        assert said in done.stdout
    built = build(model, "float32", (f"{FACTORIES.stem}.*",), tmp_path).model
    expected = [
        (probe.name, draw(probe.specs, probe.sizes, probe.seed, "float32")) for probe in plan_probes(built, STANDARD, 0)
    ]
    for (title, inputs), (name, values) in zip(runpy.run_path(str(tmp_path / "repro.py"))["probes"](), expected, strict=True):
        assert title == name
        assert all(torch.equal(inputs[key], values[key]) for key in values)


def test_outputs_without_names_are_named_in_the_script() -> None:
    text = script(made(outputs=(), select=("hidden",), rename={"hidden": "y"}), "torchscript")
    assert "output_names(wrapper.answer(*example), wrapper.select, inputs, {'hidden': 'y'})" in text
    assert "tolerances = [None] * len(found)" in text
    assert "class DeclarationError" not in text


def test_weights_of_an_address_are_fetched_by_the_script() -> None:
    text = script(made(weights=WeightsSpec(url="https://example.org/w.pth", sha256="ab", key="model")), "dynamo")
    assert "path = fetched('https://example.org/w.pth', 'ab', Path(tempfile.gettempdir(), 'downloads'))" in text
    assert "def fetched(" in text


def test_nodes_are_calls_and_every_value_survives() -> None:
    arguments = {
        "config": {"_target_": "mypkg.configs.Config", "sizes": [1, {"_target_": "mypkg.parts.Part", "text": 'a"""b\n\\'}]},
        "limits": {"x y": math.inf, "none": None},
    }
    body = function(script(made(build=BuildSpec(target="mypkg.models.Net.make", arguments=arguments)), "dynamo"), "build")
    assert (
        'module = mypkg.models.Net.make(config=mypkg.configs.Config(sizes=[1, mypkg.parts.Part(text=\'a"""b\\n\\\\\')])' in body
    )
    assert "limits={'x y': float('inf'), 'none': None})" in body


def test_packages_are_imported_up_to_the_class() -> None:
    text = script(made(build=BuildSpec(target="mypkg.models.Net.make", arguments={})), "dynamo")
    assert "\nimport mypkg.models\n" in text


def test_arguments_that_are_no_names_are_passed_all_the_same() -> None:
    text = script(made(build=BuildSpec(target="mypkg.models.Net", arguments={"a-b": 1})), "dynamo")
    assert "mypkg.models.Net(**{'a-b': 1})" in text


def test_weights_of_a_file_are_read_as_the_run_read_them() -> None:
    weights = WeightsSpec(file="/data/w.pth", sha256="ab", key="model", prefix="net.", strict=False)
    body = function(script(made(weights=weights), "dynamo"), "build")
    assert "path = Path('/data/w.pth')" in body
    assert "check_digest(path, 'ab')" in body
    assert "load_state(module, read_state(path, 'model'), 'net.', False)" in body


def test_each_exporter_is_called_with_what_its_module_passes_on() -> None:
    dynamo = function(script(made(), "dynamo", opset=21), "export")
    assert "opset_version=21" in dynamo
    assert "torch.export.Dim('batch', min=1, max=None)" in dynamo
    assert "dynamo=True" in dynamo
    trace = function(script(made(), "torchscript", check_trace=True), "export")
    assert "torch.jit.trace(module, example)" in trace
    assert "keep_initializers_as_inputs" not in trace
    assert "axes = [{0: 'batch'}]" in trace
    assert "dynamic_axes=dict(zip(inputs, axes))" in trace
    assert "do_constant_folding=True" in trace
    compiled = function(script(made(), "torchscript_script", opset=8), "export")
    assert "torch.jit.script(module)" in compiled
    assert "keep_initializers_as_inputs=True" in compiled


def test_options_of_an_exporter_are_in_the_call() -> None:
    strict = function(script(made(), "dynamo", strict=True, optimize=False, keep_initializers_as_inputs=True), "export")
    assert "module = torch.export.export(module, example, dynamic_shapes=shapes, strict=True)" in strict
    assert "optimize=False" in strict
    assert "keep_initializers_as_inputs=True" in strict
    trace = function(script(made(), "torchscript", export_modules_as_functions=True), "export")
    assert "export_modules_as_functions=True" in trace


def test_translations_are_imported_and_in_the_call() -> None:
    table = {"torch.ops.mylib.halved.default": "mypkg.translations.halved"}
    text = script(made(), "dynamo", custom_translation_table=table)
    assert "import mypkg.translations" in text.splitlines()
    assert "custom_translation_table={torch.ops.mylib.halved.default: mypkg.translations.halved}" in function(text, "export")
    assert "custom_translation_table" not in script(made(), "dynamo")


def test_a_model_in_training_mode_is_exported_so() -> None:
    body = function(script(made(mode="train"), "torchscript"), "export")
    assert "TrainingMode.PRESERVE" in body
    assert "do_constant_folding=False" in body


def test_what_only_the_wrapper_can_do_is_wrapped() -> None:
    keyword = TensorSpec(name="mask", shape=("batch",), dtype="int64", keyword=True, generator="mask")
    body = function(script(made(inputs=(*made().inputs, keyword), select=("y",)), "dynamo"), "build")
    assert "return Adapter(module, ['mask'], ['y'])" in body


def test_declared_tolerances_hold_in_the_script_too() -> None:
    text = script(made(outputs=(OutputSpec(name="y", rtol=0.1), OutputSpec(name="z"))), "dynamo")
    assert "tolerances = [Tolerance(rtol=0.1, atol=0.0), None]" in text


def test_an_exporter_of_somebody_else_is_left_to_the_reader() -> None:
    assert "NotImplementedError" in function(script(made(), "mine"), "export")


def test_a_path_with_quotes_and_line_ends_is_data() -> None:
    text = script(replace(made(), config_path='/a"""\nimport os  # b'), "dynamo")
    assert "os" not in imports(text)


def test_rendering_needs_no_torch() -> None:
    code = "import sys, orchestrator.report.repro; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "False"
