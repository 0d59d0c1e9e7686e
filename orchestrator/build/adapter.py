"""A module that takes tensors by position and answers with a flat tuple of tensors, which is what both exporters handle alike.

TorchScript tracing fails on transformers models that are given positional tensors, and dynamo permutes keyword inputs that
come in another order than forward's. Needs nothing but torch: a repro script carries a copy of this code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch


class Adapter(torch.nn.Module):
    """Calls the inner module with the last inputs by name, and flattens its answer.

    Args:
        inner: The module; its training flag becomes the wrapper's, because TorchScript export sets all flags to the root's.
        keywords: Parameters of the inner forward that the last inputs are given to by name.
        select: Fields of the answer to keep, in this order; empty keeps all.
    """

    def __init__(self, inner: torch.nn.Module, keywords: Sequence[str] = (), select: Sequence[str] = ()) -> None:
        super().__init__()
        self.inner = inner
        self.keywords = tuple(keywords)
        self.select = tuple(select)
        self.training = inner.training

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Answers with all tensors of the inner module's answer."""
        positional = len(inputs) - len(self.keywords)
        named = dict(zip(self.keywords, inputs[positional:], strict=True))
        return tuple(flatten(self.inner(*inputs[:positional], **named), self.select))


def is_plain(answer: object) -> bool:
    """Whether both exporters take the answer as it is: a tensor, or a tuple of tensors."""
    return isinstance(answer, torch.Tensor) or (
        type(answer) is tuple and all(isinstance(item, torch.Tensor) for item in answer)
    )


def flatten(answer: Any, select: Sequence[str] = ()) -> Iterator[torch.Tensor]:
    """Yields the tensors of an answer: mappings and sequences in their order, dataclasses in field order, None left out.

    Args:
        answer: What a module returned.
        select: Fields to take from it, in this order; empty takes all.

    Raises:
        TypeError: The answer holds something that is no tensor.
        KeyError: It has no such field.
    """
    if select:
        fields = _fields(answer)
        for name in select:
            yield from flatten(fields[name])
    elif isinstance(answer, torch.Tensor):
        yield answer
    elif isinstance(answer, tuple | list) and not hasattr(answer, "_fields"):
        for item in answer:
            yield from flatten(item)
    elif answer is not None:
        for item in _fields(answer).values():
            yield from flatten(item)


def _fields(answer: Any) -> Mapping[str, Any]:
    if isinstance(answer, Mapping):
        return answer
    if dataclasses.is_dataclass(answer):
        return {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
    if hasattr(answer, "_asdict"):
        return dict(answer._asdict())
    raise TypeError(f"the module's answer holds a {type(answer).__name__}; choose with `select` what is a tensor")
