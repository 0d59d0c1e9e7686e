"""A module that takes tensors by position and answers with a flat tuple of tensors, which is what both exporters handle alike.

TorchScript tracing fails on transformers models that are given positional tensors, and dynamo permutes keyword inputs that
come in another order than forward's. Needs nothing but torch: a repro script carries a copy of this code.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch


class Adapter(torch.nn.Module):
    """Calls the inner module with the last inputs by name, and flattens its answer.

    Args:
        inner: The module; its training flag becomes the wrapper's, because TorchScript export sets all flags to the root's.
        keywords: Parameters of the inner forward that the last inputs are given to by name.
        select: Places in the answer to keep, in this order; empty keeps all.
    """

    def __init__(self, inner: torch.nn.Module, keywords: Sequence[str] = (), select: Sequence[str] = ()) -> None:
        super().__init__()
        self.inner = inner
        self.keywords = tuple(keywords)
        self.select = tuple(select)
        self.training = inner.training

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Answers with all tensors of the inner module's answer."""
        return tuple(flatten(self.answer(*inputs), self.select))

    def answer(self, *inputs: torch.Tensor) -> Any:
        """Answers as the inner module does."""
        positional = len(inputs) - len(self.keywords)
        named = dict(zip(self.keywords, inputs[positional:], strict=True))
        return self.inner(*inputs[:positional], **named)


def is_plain(answer: object) -> bool:
    """Whether both exporters take the answer as it is: a tensor, or a tuple of tensors."""
    return isinstance(answer, torch.Tensor) or (
        type(answer) is tuple and all(isinstance(item, torch.Tensor) for item in answer)
    )


def flatten(answer: Any, select: Sequence[str] = ()) -> Iterator[torch.Tensor]:
    """Yields the tensors of an answer, in the order of `leaves`."""
    for _, tensor in leaves(answer, select):
        yield tensor


def leaves(answer: Any, select: Sequence[str] = ()) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the tensors of an answer with their places in it, such as `past.0.key`; a bare tensor has the place "".

    Mappings, sequences and named tuples in their order, dataclasses in field order, caches of transformers as `<layer>.key` and
    `<layer>.value`; None is left out.

    Args:
        answer: What a module returned.
        select: Places to take from it, in this order, with all that is below them; empty takes all.

    Raises:
        TypeError: The answer holds something that is no tensor.
        KeyError: It has no such place.
    """
    for place in select:
        yield from _leaves(_at(answer, place), place)
    if not select:
        yield from _leaves(answer, "")


def output_names(answer: Any, select: Sequence[str], taken: Collection[str], rename: Mapping[str, str]) -> tuple[str, ...]:
    """Names for the tensors of an answer, made of their places in it.

    A place is its name, with `output` before it where it would be empty, start with a digit or be taken: a bare tensor is
    `output`, a tuple `output.0` and `output.1`. Characters that names cannot have become `_`.

    Args:
        answer: What a module returned.
        select: As in `leaves`.
        taken: Names of the inputs.
        rename: Such a name → the name to use instead.

    Raises:
        KeyError: `rename` has a key that is the name of no output.
        ValueError: Two outputs would have one name.
    """
    names = [_name(place, taken) for place, _ in leaves(answer, select)]
    if unknown := sorted(rename.keys() - {*names}):
        raise KeyError(f"rename: there is no output '{unknown[0]}'; there are: {', '.join(names)}")
    names = [rename.get(name, name) for name in names]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two outputs would be called '{twice[0]}'; name all of them under outputs")
    return tuple(names)


def _name(place: str, taken: Collection[str]) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", place)
    return name if re.match("[A-Za-z_]", name) and name not in taken else f"output.{name}".removesuffix(".")


def _leaves(answer: Any, place: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(answer, torch.Tensor):
        yield place, answer
    elif answer is not None:
        for name, item in _parts(answer, place).items():
            yield from _leaves(item, f"{place}.{name}" if place else name)


def _at(answer: Any, place: str) -> Any:
    for name in place.split("."):
        parts = _parts(answer, place)
        if name not in parts:
            raise KeyError(f"the module's answer has no '{place}'; it has {', '.join(parts)}")
        answer = parts[name]
    return answer


def _parts(answer: Any, place: str) -> dict[str, Any]:
    """What an answer is made of, by name."""
    if isinstance(answer, Mapping):
        return {str(key): item for key, item in answer.items()}
    if dataclasses.is_dataclass(answer):
        return {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
    if hasattr(answer, "_asdict"):
        return dict(answer._asdict())
    if isinstance(answer, tuple | list):
        return {str(index): item for index, item in enumerate(answer)}
    if hasattr(answer, "layers") and all(hasattr(layer, "keys") and hasattr(layer, "values") for layer in answer.layers):
        return {str(index): {"key": layer.keys, "value": layer.values} for index, layer in enumerate(answer.layers)}
    where = f" at '{place}'" if place else ""
    raise TypeError(f"the module's answer holds a {type(answer).__name__}{where}; choose with `select` what is a tensor")
