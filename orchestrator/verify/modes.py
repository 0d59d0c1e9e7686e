"""What the model answers in another mode than the one that is exported, and what of it an export can disturb."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from orchestrator.build.adapter import flatten
from orchestrator.verify.compare import digest
from orchestrator.verify.uses import to_numpy

SEED = 0
"""Of what a model in training mode draws."""


@dataclass(frozen=True, kw_only=True)
class OtherMode:
    """A mode that the model is not in."""

    name: str
    """train or eval."""
    outputs: tuple[np.ndarray, ...]
    """On the example."""


def other_modes(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> tuple[OtherMode, ...]:
    """The answers with all submodules in training mode and with all in eval, except for the mode that the module is in.

    A mode in which the model raises on the example is left out.

    Args:
        module: Left as it was: what runs is a copy that shares its parameters.
        inputs: Positional arguments.
    """
    shared = {id(parameter): parameter for parameter in module.parameters()}
    found = []
    for name, training in (("train", True), ("eval", False)):
        if all(submodule.training == training for submodule in module.modules()):
            continue
        other = copy.deepcopy(module, dict(shared))
        for submodule in other.modules():
            submodule.training = training
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(SEED)
                answer = other(*(value.clone() for value in inputs))
        except Exception:  # noqa: S112
            continue
        found.append(OtherMode(name=name, outputs=tuple(np.array(to_numpy(tensor)) for tensor in flatten(answer))))
    return tuple(found)


def snapshot(module: torch.nn.Module) -> Mapping[str, str]:
    """Training flags of all submodules, and digests of all parameters and buffers, by what a person calls them."""
    flags = {f"the training flag of {name or 'the model'}": str(part.training) for name, part in module.named_modules()}
    parameters = {f"the parameter {name}": digest(to_numpy(tensor)) for name, tensor in module.named_parameters()}
    buffers = {f"the buffer {name}": digest(to_numpy(tensor)) for name, tensor in module.named_buffers()}
    return {**flags, **parameters, **buffers}


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """What is not as it was, gone or new."""
    yield from (name for name in {**before, **after} if before.get(name) != after.get(name))
