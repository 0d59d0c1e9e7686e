"""The TorchDynamo-based exporter: torch.export captures, torch.onnx translates; one capture serves several opsets."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from exporters import graph, internals, shapes, sharing, sources
from exporters.base import CaptureError, Dim, Emission, Example, ExporterWarning, MadeFrom, Progress, Step
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

    Several opsets are made from one capture where `sharing` knows that the result is the same.

    Options:
        optimize: Constant folding and the rewrite rules of onnxscript.
        strict: Capture in torch.export's strict mode alone; otherwise torch.onnx tries it after the other has failed.
        keep_initializers_as_inputs: List the weights among the inputs of the graph.
        custom_translation_table: Overload of an operator → function that translates it.

    Below opset 18 torch.onnx logs a warning and returns opset 18: `Emission.opset_actual` says so.
    """
    export = _Export(module, example, dims, options, folder)
    yield from sharing.exported(export, module, example, opsets, options)


@dataclass(frozen=True, kw_only=True)
class _Captured:
    """A program, and what its capture said."""

    program: torch.onnx.ONNXProgram
    ranges: shapes.Ranges
    warnings: tuple[ExporterWarning, ...]
    seconds: float


class _Export:
    """What all opsets of one call have in common."""

    def __init__(
        self, module: torch.nn.Module, example: Example, dims: Mapping[str, Dim], options: Mapping[str, Any], folder: Path
    ) -> None:
        self._module, self._example, self._options, self._folder = module, example, options, folder
        self._specs = shapes.in_signature_order(module.forward, example)
        self._dynamic_shapes = shapes.dynamic_shapes(module.forward, example, dims)
        tensors = (module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))
        self._weights = {name for named in tensors for name, _ in named}

    def alone(self, opset: int, reason: str | None) -> Iterator[Progress | Emission]:
        """An export of its own; no program outlives it."""
        yield Progress(step=Step.CAPTURE, opset=opset)
        captured = self._capture(opset, optimize=self._options["optimize"])
        yield Progress(step=Step.EMIT, opset=opset)
        resumed = time.perf_counter()
        written = self._write(captured.program.model, opset)
        yield self._emission(opset, "exported", written, captured, captured.seconds, time.perf_counter() - resumed, reason)

    def shared(self, opsets: Sequence[int]) -> Iterator[Progress | Emission]:
        """One capture for all: its program, decomposed at `sharing.BASE`, is fed back for each lower group of opsets."""
        yield Progress(step=Step.CAPTURE, opset=None)
        try:
            base = self._capture(sharing.BASE, optimize=self._options["optimize"] and sharing.BASE in opsets)
        except CaptureError:
            raise
        except Exception as error:
            yield from sharing.each_alone(self, opsets, error)
            return
        groups = sharing.groups(opsets, graph.operators(base.program.model), sharing.DYNAMO)
        for number, group in enumerate(reversed(groups)):
            # The capture is charged to what came first of it.
            yield from self._group(base, group, base.seconds if number == 0 else 0.0)

    def _group(self, base: _Captured, opsets: Sequence[int], capture_seconds: float) -> Iterator[Progress | Emission]:
        """One graph, with the stamps of each of the opsets."""
        first = sharing.BASE if sharing.BASE in opsets else opsets[0]
        yield Progress(step=Step.EMIT, opset=first)
        resumed = time.perf_counter()
        try:
            source = base if first == sharing.BASE else self._feed_back(base, first)
        except Exception as error:
            yield from sharing.each_alone(self, opsets, error)
            return
        model = source.program.model
        written = self._write(model, first)
        made_from: MadeFrom = "exported" if source is base else "fed_back"
        yield self._emission(first, made_from, written, source, capture_seconds, time.perf_counter() - resumed)
        for opset in opsets:
            if opset != first:
                yield Progress(step=Step.EMIT, opset=opset)
                resumed = time.perf_counter()
                again = graph.stamp(written, self._folder, _stem(opset), opset=opset, ir_version=model.ir_version)
                yield self._emission(opset, "stamped", again, source, 0.0, time.perf_counter() - resumed)

    def _capture(self, opset: int, *, optimize: bool) -> _Captured:
        began = time.perf_counter()
        strict = self._options["strict"]
        keywords = {spec.name: self._example.values[spec.name] for spec in self._specs if spec.keyword}
        with surroundings(self._module) as warnings, internals.one_registry():
            module = self._captured_strictly(keywords) if strict else self._module
            program = self._translated(module, opset, self._example.args, keywords, optimize=optimize)
        assert program.exported_program is not None
        return _Captured(
            program=program,
            ranges=shapes.obtained_ranges(program.exported_program, self._specs),
            warnings=tuple(warnings),
            seconds=time.perf_counter() - began,
        )

    def _feed_back(self, base: _Captured, opset: int) -> _Captured:
        """The base's program, which is decomposed, translated for another opset: the same as capturing again."""
        assert base.program.exported_program is not None
        began = time.perf_counter()
        with surroundings(self._module) as warnings, internals.one_registry(), internals.decomposed_once():
            program = self._translated(base.program.exported_program, opset, (), {}, optimize=self._options["optimize"])
        return _Captured(
            program=program,
            ranges=base.ranges,
            warnings=tuple(dict.fromkeys([*base.warnings, *warnings])),
            seconds=time.perf_counter() - began,
        )

    def _translated(
        self,
        source: torch.nn.Module | torch.export.ExportedProgram,
        opset: int,
        args: tuple[torch.Tensor, ...],
        keywords: Mapping[str, torch.Tensor],
        *,
        optimize: bool,
    ) -> torch.onnx.ONNXProgram:
        try:
            program = torch.onnx.export(
                source,
                args,
                kwargs=dict(keywords),
                dynamo=True,
                opset_version=opset,
                dynamic_shapes=self._dynamic_shapes,
                input_names=[spec.name for spec in self._specs],
                output_names=list(self._example.outputs) or None,
                optimize=optimize,
                custom_translation_table=self._options["custom_translation_table"],
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            # Told apart by name: the classes below the public one are torch's own business.
            kind = CaptureError if type(error).__name__ == "TorchExportError" else type(error)
            raise kind(_told(error.__cause__ or error)) from error
        assert program is not None
        return program

    def _captured_strictly(self, keywords: Mapping[str, torch.Tensor]) -> torch.export.ExportedProgram:
        try:
            return torch.export.export(
                self._module, self._example.args, dict(keywords), dynamic_shapes=self._dynamic_shapes, strict=True
            )
        except Exception as error:
            raise CaptureError(_told(error)) from error

    def _write(self, model: ir.Model, opset: int) -> graph.Written:
        graph.order_inputs(model, [spec.name for spec in self._example.specs])
        # A program that is fed back has other names inside than one that is captured for its opset.
        graph.name_by_place(model, self._weights)
        weights_as_inputs = self._options["keep_initializers_as_inputs"]
        return graph.write(model, self._folder, _stem(opset), weights_as_inputs=weights_as_inputs)

    def _emission(
        self,
        opset: int,
        made_from: MadeFrom,
        written: graph.Written,
        captured: _Captured,
        capture_seconds: float,
        emit_seconds: float,
        alone: str | None = None,
    ) -> Emission:
        return Emission(
            opset=opset,
            opset_actual=written.opset,
            made_from=made_from,
            files=written.files,
            ranges=captured.ranges,
            warnings=captured.warnings,
            sources=written.sources,
            capture_seconds=capture_seconds,
            emit_seconds=emit_seconds,
            weights_as_inputs=written.weights_as_inputs,
            alone=alone,
        )


def _stem(opset: int) -> str:
    return f"dynamo-opset{opset}"


def _told(cause: BaseException) -> str:
    decides = "forward decides by the values of a tensor, which torch.export cannot follow (torch.cond can be): "
    return (decides if isinstance(cause, GuardOnDataDependentSymNode) else "") + sources.told(cause)
