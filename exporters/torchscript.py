"""The TorchScript-based exporter, by tracing and by scripting; one graph serves several opsets. Deprecated upstream."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch

from exporters import graph, shapes, sharing, sources
from exporters.base import CaptureError, Dim, Emission, Example, ExporterWarning, Progress, Step, TensorSpec
from exporters.surroundings import surroundings

FIRST_WITHOUT_WEIGHTS_AS_INPUTS = 9
"""Below this opset torch.onnx writes IR version 3, where every weight is an input as well."""


def export(
    module: torch.nn.Module,
    example: Example,
    dims: Mapping[str, Dim],
    opsets: Sequence[int],
    options: Mapping[str, Any],
    folder: Path,
) -> Iterator[Progress | Emission]:
    """Exports with `torch.onnx.export(dynamo=False)` on a trace; see `base.Exporter`.

    Options:
        export_modules_as_functions: Write each submodule as a function of the file; opsets 15 and above.
        check_trace: First trace twice and compare; a matter of its own, which does not change the artifact.
        do_constant_folding: Fold operations on constants.
        keep_initializers_as_inputs: List the weights among the inputs of the graph.
    """
    capture = partial(_traced, module, example, dims, options)
    export = _Export("torchscript", capture, module, options, folder)
    yield from sharing.exported(export, module, example, opsets, options)


def export_script(
    module: torch.nn.Module,
    example: Example,
    dims: Mapping[str, Dim],
    opsets: Sequence[int],
    options: Mapping[str, Any],
    folder: Path,
) -> Iterator[Progress | Emission]:
    """Exports with `torch.onnx.export(dynamo=False)` on a compiled module; see `base.Exporter`.

    Options:
        do_constant_folding: Fold operations on constants.
        keep_initializers_as_inputs: List the weights among the inputs of the graph.
    """
    capture = partial(_scripted, module, example, dims, options)
    export = _Export("torchscript_script", capture, module, options, folder)
    yield from sharing.exported(export, module, example, opsets, options)


Capture = Callable[[int, Path], ir.Model]
"""From an opset to a graph; a graph of more than 2 GiB reads its weights from the scratch folder when it is written."""


@dataclass(frozen=True, kw_only=True)
class _Captured:
    """A graph on disk, that can be stamped for other opsets."""

    model: ir.Model
    written: graph.Written
    warnings: tuple[ExporterWarning, ...]
    capture_seconds: float
    emit_seconds: float


class _Export:
    """What all opsets of one call have in common."""

    def __init__(self, name: str, capture: Capture, module: torch.nn.Module, options: Mapping[str, Any], folder: Path) -> None:
        self._name, self._capture, self._module, self._options, self._folder = name, capture, module, options, folder

    def alone(self, opset: int, reason: str | None) -> Iterator[Progress | Emission]:
        """An export of its own; no graph outlives it."""
        captured = yield from self._exported(opset, opset)
        yield _emission(opset, captured, reason)

    def shared(self, opsets: Sequence[int]) -> Iterator[Progress | Emission]:
        """One graph for each group of opsets; the graph of the higher ones tells whether it serves the lower ones too."""
        while opsets:
            first = min((opset for opset in opsets if opset >= min(sharing.TORCHSCRIPT)), default=min(opsets))
            try:
                captured = yield from self._exported(first, None)
            except CaptureError:
                raise
            except Exception as error:
                yield from sharing.each_alone(self, opsets, error)
                return
            *_, group = sharing.groups(opsets, graph.operators(captured.model), sharing.TORCHSCRIPT)
            yield _emission(first, captured)
            yield from self._stamped([opset for opset in group if opset != first], captured)
            opsets = [opset for opset in opsets if opset not in group]

    def _exported(self, opset: int, announced: int | None) -> Generator[Progress, None, _Captured]:
        yield Progress(step=Step.CAPTURE, opset=announced)
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            with surroundings(self._module) as warnings:
                model = self._capture(opset, Path(scratch))
            captured = time.perf_counter()
            yield Progress(step=Step.EMIT, opset=opset)
            resumed = time.perf_counter()
            weights_as_inputs = self._options["keep_initializers_as_inputs"]
            written = graph.write(model, self._folder, self._stem(opset), weights_as_inputs=weights_as_inputs)
        return _Captured(
            model=model,
            written=written,
            warnings=tuple(warnings),
            capture_seconds=captured - began,
            emit_seconds=time.perf_counter() - resumed,
        )

    def _stamped(self, opsets: Sequence[int], captured: _Captured) -> Iterator[Progress | Emission]:
        for opset in opsets:
            yield Progress(step=Step.EMIT, opset=opset)
            began = time.perf_counter()
            ir_version = sharing.ir_version(opset)
            written = graph.stamp(captured.written, self._folder, self._stem(opset), opset=opset, ir_version=ir_version)
            stamped = replace(captured, written=written, capture_seconds=0.0, emit_seconds=time.perf_counter() - began)
            yield replace(_emission(opset, stamped), made_from="stamped")

    def _stem(self, opset: int) -> str:
        return f"{self._name}-opset{opset}"


def _emission(opset: int, captured: _Captured, alone: str | None = None) -> Emission:
    return Emission(
        opset=opset,
        opset_actual=captured.written.opset,
        made_from="exported",
        files=captured.written.files,
        ranges=None,
        warnings=captured.warnings,
        sources=captured.written.sources,
        capture_seconds=captured.capture_seconds,
        emit_seconds=captured.emit_seconds,
        weights_as_inputs=captured.written.weights_as_inputs,
        alone=alone,
    )


def _traced(
    module: torch.nn.Module, example: Example, dims: Mapping[str, Dim], options: Mapping[str, Any], opset: int, scratch: Path
) -> ir.Model:
    if options["check_trace"]:
        with _as_capture_error():
            torch.jit.trace(module, example.args, example_kwarg_inputs=example.kwargs or None)  # type: ignore[no-untyped-call]
    specs = shapes.in_signature_order(module.forward, example)
    as_functions = options["export_modules_as_functions"]
    if as_functions:
        # A second export of the same module in a process fails inside torch (2.15), whatever its options.
        module = copy.deepcopy(module)
    return _converted(module, example, specs, dims, opset, options, scratch, as_functions=as_functions)


def _scripted(
    module: torch.nn.Module, example: Example, dims: Mapping[str, Dim], options: Mapping[str, Any], opset: int, scratch: Path
) -> ir.Model:
    with _as_capture_error():
        scripted = torch.jit.script(module)
    specs = shapes.in_signature_order(module.forward, example)
    model = _converted(scripted, example, specs, dims, opset, options, scratch)
    # The names inside depend on what this process compiled before.
    graph.name_by_place(model)
    return model


@contextmanager
def _as_capture_error() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise CaptureError(sources.told(error)) from error


def _converted(
    module: torch.nn.Module,
    example: Example,
    specs: Sequence[TensorSpec],
    dims: Mapping[str, Dim],
    opset: int,
    options: Mapping[str, Any],
    scratch: Path,
    *,
    as_functions: bool = False,
) -> ir.Model:
    """The graph in memory; `specs` are the inputs in the order of forward, which a compiled module does not tell."""
    training = any(submodule.training for submodule in module.modules())
    path = scratch / "model.onnx"
    with _graph_not_printed(), _interpreter_told():
        torch.onnx.export(
            module,
            example.args,
            str(path),  # above 2 GiB another kind of path is refused
            kwargs=example.kwargs or None,
            dynamo=False,
            opset_version=opset,
            input_names=[spec.name for spec in specs],
            output_names=list(example.outputs) or None,
            dynamic_axes=shapes.dynamic_axes(specs, dims),
            # EVAL would switch submodules that are meant to train; folding would fold what training changes.
            training=torch.onnx.TrainingMode.PRESERVE if training else torch.onnx.TrainingMode.EVAL,
            do_constant_folding=options["do_constant_folding"] and not training,
            keep_initializers_as_inputs=opset < FIRST_WITHOUT_WEIGHTS_AS_INPUTS,
            export_modules_as_functions=as_functions,
            verbose=True,  # the only way to get source lines into the graph
        )
    model = ir.load(path)
    graph.separate_weights(model)
    graph.order_inputs(model, [spec.name for spec in example.specs])
    return model


@contextmanager
def _interpreter_told() -> Iterator[None]:
    """A compiled module that cannot run its example fails in the conversion, with its reason at the end of a long text."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith(sources.INTERPRETER_FAILED):
            raise
        raise CaptureError(sources.told(error)) from error


@contextmanager
def _graph_not_printed() -> Iterator[None]:
    """verbose=True prints the whole graph as well, through this private function, which has no other effect."""
    show = torch._C._jit_onnx_log
    torch._C._jit_onnx_log = lambda *_: None
    try:
        yield
    finally:
        torch._C._jit_onnx_log = show
