"""Which tensors of its state the eager module really uses, how, and what it computes of them alone: watched while it runs.

What the state is carried as in an artifact is `weights`' business. Not seen: values that leave torch as Python numbers.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from orchestrator.verify.compare import digest

NO_VALUES = frozenset(
    {
        "empty_like",
        "zeros_like",
        "ones_like",
        "full_like",
        "rand_like",
        "randn_like",
        "new_empty",
        "new_zeros",
        "new_ones",
        "new_full",
    }
)
"""Operators that look at the shape of their argument only."""
SECOND_FACTOR = {"mm": 1, "addmm": 2, "linear": 1}
"""Operators that multiply by a matrix of the state: position of the factor."""


@dataclass(eq=False)
class Constant:
    """A tensor of the state, or what eager computes of the state alone."""

    name: str
    """As in the state dict; of a computed one that of its first source, with the operator."""
    tensor: torch.Tensor
    views: dict[tuple[object, ...], torch.Tensor] = field(default_factory=dict)
    """Parts and layouts of it that operators take together with what depends on the inputs."""
    layouts: dict[tuple[object, ...], torch.Tensor] = field(default_factory=dict)
    """Layouts of all of it that operators take together with nothing but constants: a runtime may be left to do the same."""
    results: list[Constant] = field(default_factory=list)
    """What is computed of it, and of other constants."""
    turned: set[bool] = field(default_factory=set)
    """Of a matrix: whether it is multiplied as it lies there (False) or transposed (True)."""
    aliases: tuple[str, ...] = ()
    """All its names: a tied tensor has several."""
    bits: int = 0
    """A set of state tensors as bits: itself, or what it is computed of."""
    before: list[int] = field(default_factory=list)
    """At each use together with inputs: the state tensors on whose values those inputs depend."""
    beside: int = 0
    """The state tensors that one of these operators takes as well."""
    opaque: str = ""
    """Why no initializer need carry it: it became a Python number, or the model writes into it."""
    computed: bool = False

    @property
    def used(self) -> bool:
        """Whether the answer can depend on it."""
        return bool(self.views or self.opaque or any(result.used for result in self.results))

    @functools.cached_property
    def values(self) -> np.ndarray:
        """All of it, shared with the tensor where that lies in order."""
        return to_numpy(self.tensor)

    @functools.cached_property
    def digest(self) -> str:
        """Of the values."""
        return digest(self.values)

    @functools.cached_property
    def used_parts(self) -> list[tuple[str, tuple[int, ...]]]:
        """Digest and shape of each view, in its own layout and in order of their use."""
        return [(digest(to_numpy(view)), tuple(view.shape)) for view in self.views.values()]


@dataclass(frozen=True, kw_only=True)
class Fold:
    """A batch normalisation of what a convolution or a matrix product gives: exporters make one operator of both."""

    weight: Constant | None
    """None if what is normalised is nobody's product."""
    bias: Constant | None
    channel: int
    """Axis of the output channels in the weight."""
    scale: Constant | None
    shift: Constant | None
    mean: Constant | None
    variance: Constant | None
    epsilon: float

    @property
    def members(self) -> tuple[Constant, ...]:
        """The constants that take part."""
        parts = (self.weight, self.bias, self.scale, self.shift, self.mean, self.variance)
        return tuple(part for part in parts if part is not None)


@dataclass(frozen=True, kw_only=True)
class Uses:
    """What was seen."""

    constants: tuple[Constant, ...]
    """All of the state, unused ones too."""
    folds: tuple[Fold, ...]
    module: torch.nn.Module

    @property
    def all(self) -> list[Constant]:
        """With the computed ones."""
        return steps(*self.constants)


def steps(*constants: Constant) -> list[Constant]:
    """These and all that is computed of them, each once."""
    found: dict[int, Constant] = {}
    todo = list(constants)
    while todo:
        constant = todo.pop(0)
        if id(constant) not in found:
            found[id(constant)] = constant
            todo.extend(constant.results)
    return list(found.values())


def observe(module: torch.nn.Module, inputs: Iterable[Sequence[torch.Tensor]]) -> Uses:
    """Run the module and watch.

    Args:
        module: Left as it was: it gets copies of its buffers.
        inputs: Positional arguments, once for each run; between them they should reach every branch.
    """
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    constants = _constants(module, buffers)
    watch = _Watch(constants)
    # The fused kernels for attention take packed weights, which no exporter sees.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for arguments in inputs:
            with torch.no_grad(), torch.random.fork_rng(devices=[]), watch:
                watch.begin(arguments)
                watch.end(torch.func.functional_call(module, buffers, tuple(arguments)))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return Uses(constants=tuple(constants), folds=tuple(watch.folds.values()), module=module)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """The values, without a copy where the tensor lies in order on the CPU; bfloat16 by ml_dtypes."""
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _constants(module: torch.nn.Module, buffers: Mapping[str, torch.Tensor]) -> list[Constant]:
    names: dict[int, list[str]] = {}
    for name, tensor in _state(module):
        names.setdefault(id(tensor), []).append(name)
    return [
        Constant(name=name, tensor=buffers.get(name, tensor), aliases=tuple(names[id(tensor)]), bits=1 << number)
        for number, (name, tensor) in enumerate([*module.named_parameters(), *module.named_buffers()])
    ]


def _state(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows values by their storage, which views share; constants are kept alive, so that theirs is not used again.

    What is known of a storage is its constant, or, where its values depend on the inputs, on which state tensors besides.
    """

    def __init__(self, constants: Sequence[Constant]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.state = {_storage(constant.tensor): constant for constant in constants if constant.tensor.numel()}
        self.holds: dict[int, Constant | int] = {}
        self.folds: dict[tuple[int, ...], Fold] = {}
        self.products: dict[int, tuple[Constant | None, Constant | None, int]] = {}

    def begin(self, arguments: Sequence[torch.Tensor]) -> None:
        self.products.clear()
        self.holds = {**self.state, **{_storage(tensor): 0 for tensor in arguments}}

    def end(self, answer: Any) -> None:
        for tensor in tree_leaves(answer):
            if isinstance(tensor, torch.Tensor):
                self._used(tensor, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name not in NO_VALUES:
            taken = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
            given = [leaf for leaf in tree_leaves(answer) if isinstance(leaf, torch.Tensor)]
            self._follow(name, args, taken, given)
        else:
            for tensor in tree_leaves(answer):
                self.holds.pop(_storage(tensor), None)
        return answer

    def _follow(self, name: str, args: Any, taken: Sequence[torch.Tensor], given: Sequence[torch.Tensor]) -> None:
        sources = {id(held): held for held in map(self._held, taken) if isinstance(held, Constant)}
        if name in ("_local_scalar_dense", "item", "is_nonzero", "equal"):
            for source in sources.values():
                source.opaque = "eager reads it as a Python number"
            return
        written = [tensor for tensor in given if _storage(tensor) not in {_storage(other) for other in taken}]
        mutated = [tensor for tensor in given if any(tensor is other for other in taken)]
        masks = [held for held in map(self._held, taken) if isinstance(held, int)]
        if masks:
            before = functools.reduce(operator.or_, masks)
            beside = functools.reduce(operator.or_, (source.bits for source in sources.values()), 0)
            self._consumed(name, args, [tensor for tensor in taken if not _among(tensor, mutated)], before)
            for source in sources.values():
                source.beside |= beside
            for tensor in (*written, *mutated):
                self._depends(tensor, before | beside)
            if written:
                self._product(name, args, written[0])
        else:
            for tensor in taken:
                self._laid_out(tensor)
            for tensor in (*written, *mutated):
                self._gives(name, tensor, list(sources.values()))

    def _consumed(self, name: str, args: Any, taken: Sequence[torch.Tensor], before: int) -> None:
        for tensor in taken:
            self._used(tensor, before)
        if name in SECOND_FACTOR:
            self._multiplied(args[SECOND_FACTOR[name]], name == "linear")
        if "batch_norm" in name:
            self._normalised(args)

    def _used(self, tensor: torch.Tensor, before: int) -> None:
        held = self._held(tensor)
        if isinstance(held, Constant):
            held.before.append(before)
            held.views[(tensor.storage_offset(), tuple(tensor.shape), tensor.stride())] = tensor.detach()

    def _laid_out(self, tensor: torch.Tensor) -> None:
        held = self._held(tensor)
        if isinstance(held, Constant) and tensor.numel() == held.tensor.numel():
            held.layouts[(tuple(tensor.shape), tensor.stride())] = tensor.detach()

    def _depends(self, tensor: torch.Tensor, on: int) -> None:
        if tensor.numel():
            self._written(tensor)
            self.products.pop(_storage(tensor), None)
            self.holds[_storage(tensor)] = on

    def _written(self, tensor: torch.Tensor) -> None:
        if state := self.state.get(_storage(tensor)):
            state.opaque = "the model writes into it"

    def _gives(self, name: str, tensor: torch.Tensor, sources: Sequence[Constant]) -> None:
        if not tensor.numel():
            return
        self._written(tensor)
        if sources:
            bits = functools.reduce(operator.or_, (source.bits for source in sources))
            result = Constant(name=f"{sources[0].name} ({name})", tensor=tensor.detach(), computed=True, bits=bits)
            for source in sources:
                source.results.append(result)
            self.holds[_storage(tensor)] = result
        else:
            self.holds.pop(_storage(tensor), None)

    def _multiplied(self, factor: torch.Tensor, turned: bool) -> None:
        held = self._held(factor)
        if isinstance(held, Constant) and held.tensor.ndim == 2:
            held.turned.add(turned != (factor.stride() != held.tensor.stride()))

    def _product(self, name: str, args: Any, result: torch.Tensor) -> None:
        """Remember what a convolution or a product was made with, until another operator writes there."""
        if name == "convolution":
            transposed = bool(args[6])
            self.products[_storage(result)] = (self._known(args[1]), self._known(args[2]), int(transposed))
        elif name == "addmm":
            self.products[_storage(result)] = (self._known(args[2]), self._known(args[0]), 0)
        elif name == "mm":
            self.products[_storage(result)] = (self._known(args[1]), None, 0)

    def _normalised(self, args: Any) -> None:
        weight, bias, channel = self.products.get(_storage(args[0]), (None, None, 0))
        scale, shift, mean, variance = map(self._known, args[1:5])
        epsilon = next(value for value in reversed(args) if isinstance(value, float))
        key = tuple(id(part) for part in (weight, scale, shift, mean, variance))
        self.folds[key] = Fold(
            weight=weight, bias=bias, channel=channel, scale=scale, shift=shift, mean=mean, variance=variance, epsilon=epsilon
        )

    def _known(self, tensor: torch.Tensor | None) -> Constant | None:
        held = None if tensor is None else self._held(tensor)
        return held if isinstance(held, Constant) else None

    def _held(self, tensor: torch.Tensor) -> Constant | int | None:
        return self.holds.get(_storage(tensor))


def _among(tensor: torch.Tensor, others: Sequence[torch.Tensor]) -> bool:
    return any(tensor is other for other in others)


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
