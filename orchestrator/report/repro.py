"""A cell's `repro.py`: a script that makes the same export with torch and the model's own packages, and compares.

The code of the recipe (weights, inputs, comparison, wrapper, built-in models) is copied in from our sources. Not repeated: what
is done to the exported file afterwards (weights moved, metadata stripped) and the checks beside the comparison.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from string import Template
from textwrap import indent
from typing import Any

from exporters.base import TensorSpec
from orchestrator.build import translations, trust
from orchestrator.report.excerpt import excerpt, import_block
from orchestrator.spec import Cell, ModelSpec, OutputSpec, Unit, VerifyLevel, WeightsSpec
from orchestrator.verify.base import REFERENCE_EVALUATOR
from orchestrator.verify.probes import ProbeSpec, plan_probes

ZOO = "orchestrator.zoo."
WIDTH = 120
"""Longer calls are broken into a line for each argument."""

COPIED = (
    "exporters.base.TensorSpec",
    "orchestrator.build.adapter.Adapter",
    "orchestrator.build.adapter.is_plain",
    "orchestrator.verify.probes.draw",
    "orchestrator.verify.reference.array",
    "orchestrator.verify.compare.compare",
    "orchestrator.verify.compare.rms",
    "orchestrator.verify.compare.Tolerance",
)
DRAWN = ("orchestrator.build.weights.draw_weights",)
FETCHED = ("orchestrator.build.download.fetched",)
NAMED = ("orchestrator.build.adapter.output_names",)
DECLARED = ("orchestrator.build.exportable.declaration", "orchestrator.verify.probes.plan_probes")
READ = tuple(f"orchestrator.build.weights.{name}" for name in ("check_digest", "read_state", "load_state"))

_SCRIPT = Template('''\
"""Exports $model_name as the cell $cell_id did, and compares the artifact with the model.

Needs torch, onnx, onnxruntime and the model's own packages, and nothing of the orchestrator. Writes into the folder that it is
given, or into a temporary one. Exits with 1 if the artifact is wrong.
"""
# Declared in $config

from __future__ import annotations

$imports

OPSET = $opset


def build() -> torch.nn.Module:
    """The model with its weights, in $dtype and in mode $mode."""
$build


def probes() -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Inputs to try, those that are exported first."""
$probes


def export(module: torch.nn.Module, example: tuple[torch.Tensor, ...], path: Path) -> None:
    """The call that is to be reproduced."""
$export


def main() -> int:
    """Exports, runs both, compares."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(), "model.onnx")
    path.parent.mkdir(parents=True, exist_ok=True)
    module = build()
    example = next(inputs for _, inputs in probes())
    if not is_plain(copy.deepcopy(module)(*example.values())):
        module = Adapter(module)
    eager, exact = copy.deepcopy(module), copy.deepcopy(module).double()
    export(module, tuple(example.values()), path)
    written = onnx.load(path, load_external_data=False)
    opset = next(item.version for item in written.opset_import if item.domain == "")
    print(f"{path}: opset {opset}" + ("" if opset == OPSET else f", and {OPSET} was asked for"))
    session = $session
    scales: list[float] = []
    problems = [
        problem for name, inputs in probes() for problem in differences(written, session, eager, exact, name, inputs, scales)
    ]
    return 1 if problems or opset != OPSET else 0


def differences(
    written: onnx.ModelProto,
    session: Any,
    eager: torch.nn.Module,
    exact: torch.nn.Module,
    name: str,
    inputs: dict[str, torch.Tensor],
    scales: list[float],
) -> Iterator[str]:
    """Prints how far each output is from the model's, and yields what is wrong."""
    # Before opset 9 weights are inputs as well.
    fed = {item.name: array(inputs[item.name]) for item in written.graph.input if item.name in inputs}
    expected = answers(eager, inputs.values())
    try:
        wide = answers(exact, [value.double() if value.is_floating_point() else value for value in inputs.values()])
    except Exception as error:
        print(f"  no float64 reference: {error}")
        wide = [None] * len(expected)
    found = session.run(None, fed)
    if len(found) != len(expected):
        yield f"{len(found)} outputs instead of {len(expected)}"
        return
    tolerances = $tolerances
    # By the size of an output on the first inputs the error of what rounding leaves of zero is measured.
    scales[:] = scales or map(rms, expected)
    for output, tolerance, scale, *values in zip(written.graph.output, tolerances, scales, found, expected, wide):
        outcome = compare(*values, k=$k, tolerance=tolerance, scale=scale)
        measured = f"error {outcome.error:.2e}, bound {outcome.bound:.2e} ({outcome.rule})"
        print(f"  {name}: {output.name}: {outcome.problem or measured}")
        if outcome.problem:
            yield outcome.problem


def answers(module: torch.nn.Module, inputs: Iterable[torch.Tensor]) -> list[Any]:
    """What the module answers, as arrays; run as a copy, because one in training mode changes when it runs."""
    with torch.no_grad():
        return [array(tensor) for tensor in flatten(copy.deepcopy(module)(*(value.clone() for value in inputs)))]


# Below: copied from the orchestrator, so that weights, inputs and comparison are the same.


$copied


if __name__ == "__main__":
    sys.exit(main())
''')

_IMPORTS = (
    "import copy",
    "import onnx",
    "import sys",
    "import tempfile",
    "import torch",
    "from collections.abc import Iterable",
    "from collections.abc import Iterator",
    "from pathlib import Path",
    "from typing import Any",
)


def render(unit: Unit, cell: Cell) -> str:
    """Writes the script.

    Args:
        unit: The model, its exporter with all options, dtype and what it is verified on.
        cell: The opset and the target.
    """
    model = unit.model
    copied = excerpt(*_zoo_targets(model), *_recipe(model), *COPIED)
    return _SCRIPT.substitute(
        model_name=model.name,
        cell_id=cell.id,
        config=repr(model.config_path),
        imports=import_block(
            {*_IMPORTS, *copied.imports, *_module_imports(model), *_translation_imports(unit), _runtime(cell)[0]}
        ),
        opset=cell.opset,
        dtype=unit.dtype,
        mode=model.mode,
        build=_body(_build_lines(model, unit.dtype)),
        probes=_body(_probe_lines(unit)),
        export=_body(_export_lines(unit, cell)),
        session=_runtime(cell)[1],
        tolerances=f"[{', '.join(map(_tolerance, model.outputs))}]" if model.outputs else "[None] * len(found)",
        k=unit.verify.k,
        copied="\n\n\n".join(copied.definitions),
    )


def _runtime(cell: Cell) -> tuple[str, str]:
    """What a script imports to run the artifact, and the expression that loads it."""
    provider = cell.target.provider
    if provider == REFERENCE_EVALUATOR:
        return "from onnx.reference import ReferenceEvaluator", "ReferenceEvaluator(onnx.load(path))"
    return "import onnxruntime", f"onnxruntime.InferenceSession(path, providers=[{provider!r}])"


def _recipe(model: ModelSpec) -> Iterator[str]:
    """What of our own code the model needs besides that which all need."""
    yield from DRAWN if model.weights.seed is not None else READ
    yield from FETCHED if model.weights.url else ()
    yield from () if model.outputs else NAMED
    yield from DECLARED if model.exportable else ()


def _body(lines: Iterable[str]) -> str:
    return indent("\n".join(lines), "    ")


def _zoo_targets(model: ModelSpec) -> tuple[str, ...]:
    return tuple(target for target in trust.targets(model.build) if target.startswith(ZOO))


def _module_imports(model: ModelSpec) -> Iterator[str]:
    for target in trust.targets(model.build):
        if not target.startswith(ZOO):
            yield f"import {_module_of(target)}"
    if model.weights.package:
        yield "import importlib.util"
    if model.exportable:
        yield "from types import SimpleNamespace"


def _translation_imports(unit: Unit) -> Iterator[str]:
    for function in unit.exporter.options.get(translations.OPTION, {}).values():
        yield f"import {_module_of(function)}"


def _module_of(target: str) -> str:
    """The part of a target that can be imported: what comes before the function, or before the class that it belongs to."""
    parts = target.split(".")[:-1]
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1][0].isupper() else parts)


def _build_lines(model: ModelSpec, dtype: str) -> Iterator[str]:
    yield f"torch.manual_seed({model.weights.seed or 0})"
    yield f"module = {_node(model.build.target, model.build.arguments)}"
    yield from _weight_lines(model.weights)
    yield f"module = module.to(torch.{dtype}).{model.mode}()"
    keywords = [spec.name for spec in model.inputs if spec.keyword]
    select = list(model.select)
    if model.exportable:
        yield f"return Adapter(module, declaration(module, {_dims(model)}).keywords, {select!r})"
    else:
        yield f"return Adapter(module, {keywords!r}, {select!r})" if keywords or select else "return module"


def _dims(model: ModelSpec) -> str:
    """Dimensions that replace those of an ExportableModule."""
    return "{" + ", ".join(f"{dim.name!r}: {dim!r}" for dim in model.dims.values()) + "}"


def _weight_lines(weights: WeightsSpec) -> Iterator[str]:
    if weights.seed is not None:
        yield f"draw_weights(module, {weights.seed})"
        return
    if weights.package:
        yield f"spec = importlib.util.find_spec({weights.package!r})"
        yield f"path = Path(spec.submodule_search_locations[0], {weights.file!r})"
    elif weights.url:
        yield f"path = fetched({weights.url!r}, {weights.sha256!r}, Path(tempfile.gettempdir(), 'downloads'))"
    else:
        yield f"path = Path({weights.file!r})"
    if weights.sha256:
        yield f"check_digest(path, {weights.sha256!r})"
    yield f"load_state(module, read_state(path, {weights.key!r}), {weights.prefix!r}, {weights.strict})"


def _probe_lines(unit: Unit) -> Iterator[str]:
    level = VerifyLevel.QUICK if unit.verify.level is VerifyLevel.OFF else unit.verify.level
    if unit.model.exportable:
        yield f"own = declaration({_node(unit.model.build.target, unit.model.build.arguments)}, {_dims(unit.model)})"
        yield "planned = SimpleNamespace(inputs=own.inputs, dims=own.dims, cases=())"
        yield f"for probe in plan_probes(planned, VerifyLevel.{level.name}, {unit.verify.seed}):"
        yield f"    yield probe.name, draw(probe.specs, probe.sizes, probe.seed, {unit.dtype!r})"
        return
    yield f"inputs = {_specs(unit.model.inputs)}"
    for probe in plan_probes(unit.model, level, unit.verify.seed):
        yield f"yield {probe.name!r}, {_draw(probe, unit)}"


def _draw(probe: ProbeSpec, unit: Unit) -> str:
    specs = "inputs" if probe.specs == unit.model.inputs else _specs(probe.specs)
    return f"draw({specs}, {dict(probe.sizes)!r}, {probe.seed}, {unit.dtype!r})"


def _specs(specs: Iterable[TensorSpec]) -> str:
    """The inputs as the built module takes them: by position."""
    fields = ("name", "shape", "dtype", "generator", "range")
    return _bracketed("[", [_call("TensorSpec", [f"{f}={getattr(spec, f)!r}" for f in fields]) for spec in specs], "]")


def _tolerance(output: OutputSpec) -> str:
    if output.rtol is None and output.atol is None:
        return "None"
    return f"Tolerance(rtol={output.rtol or 0.0}, atol={output.atol or 0.0})"


def _export_lines(unit: Unit, cell: Cell) -> Iterator[str]:
    exporter = _EXPORTERS.get(unit.exporter.name)
    if exporter is None:
        yield f"raise NotImplementedError('how {unit.exporter.name} is called is not known here; call it on the module')"
        return
    model = unit.model
    if model.exportable:
        yield f"own = declaration(module.inner, {_dims(model)})"
        yield "inputs = [spec.name for spec in own.inputs]"
        yield "axes = [{i: size for i, size in enumerate(spec.shape) if isinstance(size, str)} for spec in own.inputs]"
    else:
        yield f"inputs = {[spec.name for spec in model.inputs]!r}"
        yield f"axes = {_bracketed('[', [_axes(spec) for spec in model.inputs], ']')}"
    yield from _names(model)
    arguments = ["input_names=inputs", "output_names=outputs"]
    yield from exporter(unit, cell, ["example", "path", f"opset_version={cell.opset}", *arguments])


def _dynamo(unit: Unit, _: Cell, arguments: list[str]) -> Iterator[str]:
    if unit.model.exportable:
        yield "dims = {dim.name: torch.export.Dim(dim.name, min=dim.min, max=dim.max) for dim in own.dims.values()}"
    else:
        dims = [f"{d.name!r}: torch.export.Dim({d.name!r}, min={d.min}, max={d.max})" for d in unit.model.dims.values()]
        yield f"dims = {_bracketed('{', dims, '}')}"
    yield "shapes = tuple({i: dims[size] for i, size in named.items()} for named in axes)"
    yield "# The wrapper has one variadic parameter."
    yield "shapes = (shapes,) if isinstance(module, Adapter) else shapes"
    if unit.exporter.options.get("strict"):
        yield "module = torch.export.export(module, example, dynamic_shapes=shapes, strict=True)"
    optimize = f"optimize={bool(unit.exporter.options.get('optimize'))}"
    last = [optimize, *_translations(unit), *_weights_as_inputs(unit), "verbose=False"]
    yield _call("torch.onnx.export", ["module", *arguments, "dynamo=True", "dynamic_shapes=shapes", *last])


def _translations(unit: Unit) -> list[str]:
    table = unit.exporter.options.get(translations.OPTION, {})
    pairs = [f"{operator}: {function}" for operator, function in table.items()]
    return [f"{translations.OPTION}={_bracketed('{', pairs, '}')}"] if pairs else []


def _torchscript(unit: Unit, cell: Cell, arguments: list[str]) -> Iterator[str]:
    if unit.exporter.options.get("check_trace"):
        yield "torch.jit.trace(module, example)"
    yield from _torchscript_call(unit, cell, arguments)


def _torchscript_script(unit: Unit, cell: Cell, arguments: list[str]) -> Iterator[str]:
    yield "module = torch.jit.script(module)"
    yield from _torchscript_call(unit, cell, arguments)


def _torchscript_call(unit: Unit, cell: Cell, arguments: list[str]) -> Iterator[str]:
    training = unit.model.mode == "train"
    mode = "PRESERVE" if training else "EVAL"
    folding = bool(unit.exporter.options.get("do_constant_folding")) and not training
    last = [f"training=torch.onnx.TrainingMode.{mode}", f"do_constant_folding={folding}"]
    # Before IR version 4, which came with opset 9, every weight is an input as well.
    last += ["keep_initializers_as_inputs=True"] if cell.opset < 9 else _weights_as_inputs(unit)
    last += ["export_modules_as_functions=True"] if unit.exporter.options.get("export_modules_as_functions") else []
    yield _call("torch.onnx.export", ["module", *arguments, "dynamo=False", "dynamic_axes=dict(zip(inputs, axes))", *last])


def _weights_as_inputs(unit: Unit) -> list[str]:
    return ["keep_initializers_as_inputs=True"] if unit.exporter.options.get("keep_initializers_as_inputs") else []


_EXPORTERS: Mapping[str, Callable[[Unit, Cell, list[str]], Iterator[str]]] = {
    "dynamo": _dynamo,
    "torchscript": _torchscript,
    "torchscript_script": _torchscript_script,
}


def _names(model: ModelSpec) -> Iterator[str]:
    if model.outputs:
        yield f"outputs = {[output.name for output in model.outputs]!r}"
        return
    own = "own.outputs or " if model.exportable else ""
    yield "wrapper = copy.deepcopy(module if isinstance(module, Adapter) else Adapter(module)).eval()"
    yield f"names = output_names(wrapper.answer(*example), wrapper.select, inputs, {dict(model.rename)!r})"
    yield f"outputs = list({own}names)"


def _axes(spec: TensorSpec) -> str:
    """The dynamic axes of an input as a dict display."""
    return repr({i: size for i, size in enumerate(spec.shape) if isinstance(size, str)})


def _node(target: str, arguments: Mapping[str, Any]) -> str:
    """The call that builds a node; one argument a line if it is long."""
    name = target.rpartition(".")[2] if target.startswith(ZOO) else target
    if all(key.isidentifier() for key in arguments):
        return _call(name, [f"{key}={_literal(value)}" for key, value in arguments.items()])
    return f"{name}(**{_literal(arguments)})"


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        arguments = {key: item for key, item in value.items() if key != trust.TARGET}
        if trust.TARGET in value:
            return _node(value[trust.TARGET], arguments)
        return _bracketed("{", [f"{key!r}: {_literal(item)}" for key, item in arguments.items()], "}")
    if isinstance(value, list | tuple):
        return _bracketed("[", list(map(_literal, value)), "]")
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    return repr(value)


def _call(name: str, arguments: list[str]) -> str:
    return _bracketed(f"{name}(", arguments, ")")


def _bracketed(opening: str, items: list[str], closing: str) -> str:
    line = f"{opening}{', '.join(items)}{closing}"
    if len(line) <= WIDTH and "\n" not in line:
        return line
    return "\n".join([opening, *(indent(f"{item},", "    ") for item in items), closing.removeprefix(",")])
