"""The TorchDynamo-based exporter: torch.export captures, torch.onnx translates. One independent export per opset."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from exporters import graph, shapes, sources
from exporters.base import CaptureError, Dim, Emission, Example, Progress, Step
from exporters.surroundings import surroundings


def export(
    module: torch.nn.Module,
    example: Example,
    dims: Mapping[str, Dim],
    opsets: Sequence[int],
    options: Mapping[str, Any],
    folder: Path,
) -> Iterator[Progress | Emission]:
    """Exports with `torch.onnx.export(dynamo=True)`; see `base.Exporter`.

    Options:
        optimize: Constant folding and the rewrite rules of onnxscript.
        strict: Capture in torch.export's strict mode alone; otherwise torch.onnx tries it after the other has failed.
        keep_initializers_as_inputs: List the weights among the inputs of the graph.
        custom_translation_table: Overload of an operator → function that translates it.

    Below opset 18 torch.onnx logs a warning and returns opset 18: `Emission.opset_actual` says so.
    """
    for opset in opsets:
        yield from _one(module, example, dims, opset, options, folder)


def _one(
    module: torch.nn.Module, example: Example, dims: Mapping[str, Dim], opset: int, options: Mapping[str, Any], folder: Path
) -> Iterator[Progress | Emission]:
    """A generator of its own, so that no program outlives its opset."""
    yield Progress(step=Step.CAPTURE, opset=opset)
    began = time.perf_counter()
    with surroundings(module) as warnings:
        program = _program(module, example, dims, opset, options)
    captured = time.perf_counter()
    yield Progress(step=Step.EMIT, opset=opset)
    resumed = time.perf_counter()
    graph.order_inputs(program.model, [spec.name for spec in example.specs])
    weights_as_inputs = options["keep_initializers_as_inputs"]
    written = graph.write(program.model, folder, f"dynamo-opset{opset}", weights_as_inputs=weights_as_inputs)
    yield Emission(
        opset=opset,
        opset_actual=written.opset,
        made_from="exported",
        files=written.files,
        ranges=_ranges(program, module, example),
        warnings=tuple(warnings),
        sources=written.sources,
        capture_seconds=captured - began,
        emit_seconds=time.perf_counter() - resumed,
        weights_as_inputs=written.weights_as_inputs,
    )


def _program(
    module: torch.nn.Module, example: Example, dims: Mapping[str, Dim], opset: int, options: Mapping[str, Any]
) -> torch.onnx.ONNXProgram:
    specs = shapes.in_signature_order(module.forward, example)
    keywords = {spec.name: example.values[spec.name] for spec in specs if spec.keyword}
    dynamic_shapes = shapes.dynamic_shapes(module.forward, example, dims)
    strict = _captured_strictly(module, example.args, keywords, dynamic_shapes) if options["strict"] else None
    try:
        program = torch.onnx.export(
            strict or module,
            example.args,
            kwargs=keywords,
            dynamo=True,
            opset_version=opset,
            dynamic_shapes=dynamic_shapes,
            input_names=[spec.name for spec in specs],
            output_names=list(example.outputs) or None,
            optimize=options["optimize"],
            custom_translation_table=options["custom_translation_table"],
            verbose=False,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        # Told apart by name: the classes below the public one are torch's own business.
        kind = CaptureError if type(error).__name__ == "TorchExportError" else type(error)
        raise kind(_told(error.__cause__ or error)) from error
    assert program is not None
    return program


def _captured_strictly(
    module: torch.nn.Module, args: tuple[torch.Tensor, ...], keywords: dict[str, torch.Tensor], dynamic_shapes: dict[str, Any]
) -> torch.export.ExportedProgram:
    try:
        return torch.export.export(module, args, keywords, dynamic_shapes=dynamic_shapes, strict=True)
    except Exception as error:
        raise CaptureError(_told(error)) from error


def _ranges(program: torch.onnx.ONNXProgram, module: torch.nn.Module, example: Example) -> shapes.Ranges:
    assert program.exported_program is not None
    return shapes.obtained_ranges(program.exported_program, shapes.in_signature_order(module.forward, example))


def _told(cause: BaseException) -> str:
    decides = "forward decides by the values of a tensor, which torch.export cannot follow (torch.cond can be): "
    return (decides if isinstance(cause, GuardOnDataDependentSymNode) else "") + sources.told(cause)
