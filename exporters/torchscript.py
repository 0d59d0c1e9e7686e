"""The TorchScript-based exporter, by tracing and by scripting. One independent export per opset. Deprecated upstream."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch

from exporters import graph, shapes, sources
from exporters.base import CaptureError, Dim, Emission, Example, Exporter, Progress, Step
from exporters.surroundings import surroundings

FIRST_WITHOUT_WEIGHTS_AS_INPUTS = 9
"""Below this opset torch.onnx writes IR version 3, where every weight is an input as well."""

Capture = Callable[[torch.nn.Module, Example, Mapping[str, Any]], torch.nn.Module]


def _trace(module: torch.nn.Module, example: Example, options: Mapping[str, Any]) -> torch.nn.Module:
    """Left to torch.onnx, which traces by itself, unless the trace is to be checked against a second one."""
    if not options["check_trace"]:
        return module
    kwargs = example.kwargs or None
    traced = torch.jit.trace(module, example.args, example_kwarg_inputs=kwargs)  # type: ignore[no-untyped-call]
    assert isinstance(traced, torch.nn.Module)
    return traced


def _script(module: torch.nn.Module, _: Example, __: Mapping[str, Any]) -> torch.nn.Module:
    scripted = torch.jit.script(module)
    assert isinstance(scripted, torch.nn.Module)
    return scripted


def _exporter(name: str, capture: Capture) -> Exporter:
    def one(
        module: torch.nn.Module,
        example: Example,
        dims: Mapping[str, Dim],
        opset: int,
        options: Mapping[str, Any],
        folder: Path,
    ) -> Iterator[Progress | Emission]:
        """A generator of its own, so that no graph outlives its opset."""
        yield Progress(step=Step.CAPTURE, opset=opset)
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            with surroundings(module) as warnings:
                captured = _captured(capture, module, example, options)
                model = _export(captured, module, example, dims, opset, options, Path(scratch))
            seconds = time.perf_counter() - began
            yield Progress(step=Step.EMIT, opset=opset)
            resumed = time.perf_counter()
            written = graph.write(model, folder, f"{name}-opset{opset}")
        yield Emission(
            opset=opset,
            opset_actual=written.opset,
            made_from="exported",
            files=written.files,
            ranges=None,
            warnings=tuple(warnings),
            sources=written.sources,
            capture_seconds=seconds,
            emit_seconds=time.perf_counter() - resumed,
        )

    def export(
        module: torch.nn.Module,
        example: Example,
        dims: Mapping[str, Dim],
        opsets: Sequence[int],
        options: Mapping[str, Any],
        folder: Path,
    ) -> Iterator[Progress | Emission]:
        for opset in opsets:
            yield from one(module, example, dims, opset, options, folder)

    return export


export = _exporter("torchscript", _trace)
"""Exports with `torch.onnx.export(dynamo=False)` on a trace; see `base.Exporter`.

Options:
    check_trace: Trace twice and compare.
    do_constant_folding: Fold operations on constants.
"""
export_script = _exporter("torchscript_script", _script)
"""Exports with `torch.onnx.export(dynamo=False)` on a compiled module; see `base.Exporter`.

Options:
    do_constant_folding: Fold operations on constants.
"""


def _captured(capture: Capture, module: torch.nn.Module, example: Example, options: Mapping[str, Any]) -> torch.nn.Module:
    try:
        return capture(module, example, options)
    except Exception as error:
        raise CaptureError(sources.told(error)) from error


def _export(
    captured: torch.nn.Module,
    module: torch.nn.Module,
    example: Example,
    dims: Mapping[str, Dim],
    opset: int,
    options: Mapping[str, Any],
    folder: Path,
) -> ir.Model:
    training = any(submodule.training for submodule in module.modules())
    path = folder / "model.onnx"
    with _graph_not_printed():
        torch.onnx.export(
            captured,
            example.args,
            path,
            kwargs=example.kwargs or None,
            dynamo=False,
            opset_version=opset,
            input_names=[spec.name for spec in shapes.in_signature_order(module.forward, example)],
            output_names=list(example.outputs) or None,
            dynamic_axes=shapes.dynamic_axes(example.specs, dims),
            # EVAL would switch submodules that are meant to train; folding would fold what training changes.
            training=torch.onnx.TrainingMode.PRESERVE if training else torch.onnx.TrainingMode.EVAL,
            do_constant_folding=options["do_constant_folding"] and not training,
            keep_initializers_as_inputs=opset < FIRST_WITHOUT_WEIGHTS_AS_INPUTS,
            verbose=True,  # the only way to get source lines into the graph
        )
    model = ir.load(path)
    graph.separate_weights(model)
    graph.order_inputs(model, [spec.name for spec in example.specs])
    if captured is not module:
        # Inner names of a scripted graph depend on what this process compiled before.
        graph.name_by_place(model)
    return model


@contextmanager
def _graph_not_printed() -> Iterator[None]:
    """verbose=True prints the whole graph as well, through this private function, which has no other effect."""
    show = torch._C._jit_onnx_log
    torch._C._jit_onnx_log = lambda *_: None
    try:
        yield
    finally:
        torch._C._jit_onnx_log = show
