"""Sizes at which a model takes another path than at those that are probed: two or three need not reach a branch on a size.

Found on fake tensors, which have a shape and no values, so that a size costs no computing. A path is the operators that run:
two sides that differ in numbers only look alike. Not seen: branches on sizes above `TRIED`.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from exporters.base import Dim, TensorSpec
from orchestrator.verify.sites import Observer

TRIED = (4, 8, 16, 32, 64)
"""Sizes of a dimension; smaller ones are probed. Each costs about 0.1 s for a model of the size of BERT."""

Sizes = Mapping[str, int]


def on_other_paths(
    module: torch.nn.Module, specs: Sequence[TensorSpec], dims: Mapping[str, Dim], probed: Sequence[Sizes], dtype: str
) -> Iterator[Sizes]:
    """For each dimension the smallest size that was tried and takes a path that none of the probes takes; often there is none.

    Tried are powers of two, one dimension at a time. A model that fake tensors cannot go through has no such
    sizes, nor has one that raises at them.

    Args:
        module: In the dtype of the cell; it is not changed.
        specs: The inputs.
        dims: The named dimensions.
        probed: Sizes of the probes, the example's first.
        dtype: Of floating inputs, name as in torch.
    """
    try:
        paths = _Paths(module, specs, dtype)
    except Exception:  # whatever a module that cannot be copied raises
        return
    example, *others = probed
    usual = paths.at(example) and paths.at(example)  # once to warm up: the first call of a module may do more
    if usual is None:
        return
    known = {usual}
    for name, dim in dims.items():
        for size in TRIED:
            sizes = {**example, name: size}
            path = paths.at(sizes) if dim.min <= size <= (dim.max or size) else None
            if path in (None, usual):
                continue
            if len(known) == 1:
                known |= {found for other in others if (found := paths.at(other))}
            if path not in known:
                known.add(path)
                yield sizes
                break


class _Paths:
    """A module on fake tensors."""

    def __init__(self, module: torch.nn.Module, specs: Sequence[TensorSpec], dtype: str) -> None:
        self._specs, self._dtype = specs, dtype
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        # A copy, because a model may keep what it makes at its first call; it takes no memory, since its weights are fake.
        tensors = [*module.parameters(), *module.buffers()]
        self._module = copy.deepcopy(module, {id(tensor): self._fake.from_tensor(tensor) for tensor in tensors})

    def at(self, sizes: Sizes) -> int | None:
        """A path by its hash; None if it cannot be gone to its end."""
        observer = Observer()
        try:
            with torch.no_grad(), _silence(), self._fake, observer:
                self._module(*(self._empty(spec, sizes) for spec in self._specs))
        except Exception:
            return None
        return hash(tuple(observer.steps))

    def _empty(self, spec: TensorSpec, sizes: Sizes) -> torch.Tensor:
        declared: torch.dtype = getattr(torch, spec.dtype)
        shape = [sizes[size] if isinstance(size, str) else size for size in spec.shape]
        return torch.empty(shape, dtype=getattr(torch, self._dtype) if declared.is_floating_point else declared)


@contextmanager
def _silence() -> Iterator[None]:
    """A size that a model does not take is no news."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
