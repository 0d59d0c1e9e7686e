"""From a model's declaration to a module that both exporters take: trusted, seeded, loaded, cast, in the declared mode.

Does not draw inputs for anyone and does not run the reference.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from exporters.base import TensorSpec
from orchestrator.build import exportable, weights
from orchestrator.build import trust as trusting
from orchestrator.build.adapter import Adapter, is_plain, output_names
from orchestrator.spec import ModelSpec, OutputSpec

_PLAIN_ANSWER = re.compile(r"Tensor|[Tt]uple\[Tensor(, (Tensor|\.\.\.))*\]")


class BuildError(Exception):
    """A model could not be built; one line with the file that declares it, its factory and the factory's own message."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """A module, and its declaration with all that only the module could tell."""

    module: torch.nn.Module
    """As the exporters and the reference are to call it: all inputs by position, `exported_specs` says which."""
    model: ModelSpec
    """With inputs, dims and outputs, whoever declared them."""


def build(model: ModelSpec, dtype: str, trust: tuple[str, ...], store: Path) -> Built:
    """Builds a model.

    The same declaration gives the same weights in every dtype, up to rounding: they are drawn or read before they are cast. The
    generator of the process is left as it was. Parameters keep requires_grad: without it torch's attention layers take a fast
    path that TorchScript cannot export (torch 2.15).

    A model that takes keyword inputs, or answers with anything but a tensor or a tuple of tensors, comes wrapped; so does an
    ExportableModule, which torch.onnx would export with dynamo whatever it was asked.

    Args:
        model: The declaration.
        dtype: Name as in torch; parameters, buffers and floating inputs have it.
        trust: The user's own patterns of what may be called.
        store: Root of the store; weights that are downloaded are kept below it.

    Raises:
        UntrustedError: A target or an argument is refused; nothing of the model was called.
        BuildError: The factory or loading the weights raised, or what came out is no module.
    """
    factories = _trusted(model, trust)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(model.weights.seed or 0)
            module = _make(model.build.target, model.build.arguments, factories)
            if not isinstance(module, torch.nn.Module):
                raise TypeError(f"returned a {type(module).__name__}, no torch.nn.Module")
            weights.fill(module, model.weights, store)
            built = _completed(module.eval(), model, getattr(torch, dtype))
    except Exception as error:
        message = " ".join(str(error).split())
        raise BuildError(f"{model.config_path}: {model.build.target}: {type(error).__name__}: {message}") from error
    built.module.train(model.mode == "train")
    return built


def use_threads(count: int) -> None:
    """Lets torch use so many threads within an operator in this process, from now on."""
    torch.set_num_threads(count)


def exported_specs(model: ModelSpec) -> tuple[TensorSpec, ...]:
    """The inputs as the built module takes them: all by position, because the wrapper passes keyword inputs on by name."""
    return tuple(replace(spec, keyword=False) for spec in model.inputs)


def _completed(module: torch.nn.Module, model: ModelSpec, dtype: torch.dtype) -> Built:
    """The module, cast and wrapped where it has to be; a script exporter could not compile the wrapper.

    A forward that is annotated to return a tensor or a tuple of tensors is believed; any other is called once to see, in eval
    mode and with every dimension at its minimum. So is one whose outputs have no names yet.
    """
    keywords = tuple(spec.name for spec in model.inputs if spec.keyword)
    if model.exportable:
        own = exportable.declaration(module, model.dims)
        keywords, outputs = own.keywords, model.outputs or _outputs(own.outputs)
        model = replace(model, inputs=own.inputs, dims=own.dims, outputs=outputs)
    wrapper = Adapter(module.to(dtype), keywords, model.select)
    wrapped = bool(model.exportable or keywords or model.select)
    if model.outputs and (wrapped or _is_annotated_plain(module)):
        return Built(module=wrapper if wrapped else module, model=model)
    with torch.no_grad():
        answer = wrapper.answer(*(_smallest(spec, model, dtype) for spec in model.inputs))
    if not model.outputs:
        names = output_names(answer, model.select, [spec.name for spec in model.inputs], model.rename)
        model = replace(model, outputs=_outputs(names))
    return Built(module=wrapper if wrapped or not is_plain(answer) else module, model=model)


def _outputs(names: Iterable[str]) -> tuple[OutputSpec, ...]:
    return tuple(OutputSpec(name=name) for name in names)


def _is_annotated_plain(module: torch.nn.Module) -> bool:
    annotation = inspect.signature(module.forward).return_annotation
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _PLAIN_ANSWER.fullmatch(text.replace("torch.", "").replace("typing.", "")) is not None


def _trusted(model: ModelSpec, patterns: tuple[str, ...]) -> dict[str, Any]:
    """All factories of a build by their dotted path, before any of them is called."""
    if problem := trusting.argument_problem(model.build.arguments, model.build.target):
        raise trusting.UntrustedError(f"{model.config_path}: {problem}")
    try:
        return {target: trusting.resolve(target, patterns) for target in trusting.targets(model.build)}
    except (AttributeError, ImportError) as error:
        raise BuildError(f"{model.config_path}: {error}") from error


def _make(target: str, arguments: Mapping[str, Any], factories: Mapping[str, Any]) -> Any:
    return factories[target](**{name: _value(value, factories) for name, value in arguments.items()})


def _value(value: Any, factories: Mapping[str, Any]) -> Any:
    """An argument, with the nodes in it built."""
    if isinstance(value, Mapping):
        arguments = {name: item for name, item in value.items() if name != trusting.TARGET}
        if trusting.TARGET in value:
            return _make(value[trusting.TARGET], arguments, factories)
        return {name: _value(item, factories) for name, item in arguments.items()}
    return [_value(item, factories) for item in value] if isinstance(value, list | tuple) else value


def _smallest(spec: TensorSpec, model: ModelSpec, dtype: torch.dtype) -> torch.Tensor:
    """An input of one constant, allowed value."""
    shape = [model.dims[size].min if isinstance(size, str) else size for size in spec.shape]
    declared: torch.dtype = getattr(torch, spec.dtype)
    value = spec.range[0] if spec.range else 1
    return torch.full(shape, value, dtype=dtype if declared.is_floating_point else declared)
