"""What a torch.onnx.ExportableModule says about itself, as the declaration that a YAML file would have made.

Not covered: inputs that are no tensors or lie in containers, `*args` in forward, and axes that are dynamic without a name.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from exporters.base import Dim, TensorSpec

UNBOUNDED = 2**31
"""From this size on a dimension has no largest size; torch.export has an infinite integer."""


class DeclarationError(Exception):
    """The module declares what cannot be used, or nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """What a module says about itself."""

    inputs: tuple[TensorSpec, ...]
    """Positional ones first; as the wrapper takes them, by position."""
    keywords: tuple[str, ...]
    """The parameters of forward that take the last inputs by name."""
    dims: Mapping[str, Dim]
    outputs: tuple[str, ...]
    """Empty if it names none."""


def declaration(module: torch.nn.Module, replaced: Mapping[str, Dim]) -> Declaration:
    """Asks a module for its inputs and outputs.

    Values of an input are to be drawn evenly from the range that its example spans, so that identifiers stay within the
    vocabulary; from a normal distribution if the example is floating and all one value.

    Args:
        module: As its factory returned it.
        replaced: Dimensions with other ranges than the module says.

    Raises:
        DeclarationError: See there.
    """
    if not isinstance(module, torch.onnx.ExportableModule):
        raise DeclarationError(f"is a {type(module).__name__} and no torch.onnx.ExportableModule, as `exportable: true` says")
    positional, named = module.example_arguments()
    examples = _examples(module, positional, named or {})
    names = module.input_names() or list(examples)
    if len(names) != len(examples):
        raise DeclarationError(f"input_names gives {len(names)} names for {len(examples)} inputs")
    shapes = _per_parameter(module.dynamic_shapes(), list(examples))
    axes = {parameter: _dims(shapes.get(parameter), parameter) for parameter in examples}
    dims = {dim.name: dim for named_axes in axes.values() for dim in named_axes.values()}
    if unknown := sorted(replaced.keys() - dims.keys()):
        raise DeclarationError(f"dims.{unknown[0]} is declared, and the module's dynamic_shapes do not use it")
    return Declaration(
        inputs=tuple(
            _input(name, examples[parameter], axes[parameter]) for name, parameter in zip(names, examples, strict=True)
        ),
        keywords=tuple(named or ()),
        dims={**dims, **replaced},
        outputs=tuple(module.output_names() or ()),
    )


def _examples(module: torch.nn.Module, positional: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The example inputs by parameter of forward, positional ones first."""
    examples = {**inspect.signature(module.forward).bind_partial(*positional).arguments, **named}
    for name, value in examples.items():
        if not isinstance(value, torch.Tensor):
            raise DeclarationError(f"the example of {name} is a {type(value).__name__}; only tensors can be inputs")
    return examples


def _per_parameter(shapes: Any, parameters: Sequence[str]) -> Mapping[str, Any]:
    """dynamic_shapes by parameter; torch.export also takes them in the order of the arguments."""
    if shapes is None or isinstance(shapes, Mapping):
        return shapes or {}
    return dict(zip(parameters, shapes, strict=False))


def _dims(shapes: Any, parameter: str) -> dict[int, Dim]:
    """The dynamic axes of one input; torch.export takes a mapping or one entry an axis."""
    axes = shapes.items() if isinstance(shapes, Mapping) else enumerate(shapes or ())
    static = (None, torch.export.Dim.STATIC)
    return {i: _dim(dim, f"{parameter}, axis {i}") for i, dim in axes if dim not in static and not isinstance(dim, int)}


def _dim(dim: Any, where: str) -> Dim:
    if isinstance(dim, str):
        return Dim(name=dim, min=1, max=None)
    if type(dim) is not torch.export.Dim:
        raise DeclarationError(f"{where} is dynamic as {dim}; give it a name, so that axes of one size have one name")
    return Dim(name=dim.__name__, min=max(dim.min, 1), max=int(dim.max) if dim.max < UNBOUNDED else None)


def _input(name: str, example: torch.Tensor, axes: Mapping[int, Dim]) -> TensorSpec:
    shape = tuple(axes[axis].name if axis in axes else size for axis, size in enumerate(example.shape))
    spec = TensorSpec(name=name, shape=shape, dtype=str(example.dtype).removeprefix("torch."))
    if example.dtype is torch.bool:
        return replace(spec, generator="uniform", range=(0.0, 2.0))
    low, high = float(example.min()), float(example.max())
    if example.is_floating_point() and low == high:
        return spec
    return replace(spec, generator="uniform", range=(low, high if example.is_floating_point() else high + 1))
