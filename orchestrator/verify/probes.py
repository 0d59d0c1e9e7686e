"""Which inputs a model is judged on: sizes of its named dimensions, and values drawn from a seed.

Does not run anything: answers are `reference`'s and `runtime`'s business.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from exporters.base import Dim, TensorSpec
from orchestrator.spec import ModelSpec, VerifyLevel

if TYPE_CHECKING:
    import torch

SMALLEST_EXAMPLE = 2
"""Of a dimension in the example: torch.export takes a size of 0 or 1 for a constant."""
LARGE_SIZE = 17
"""Stands in for the maximum of a dimension that has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeSpec:
    """How one set of inputs is drawn."""

    name: str
    """For a person: `example`, `batch=1`, `batch=3 sequence=5`, `case quiet`, `other values`."""
    kind: Literal["example", "case", "values", "sizes"]
    sizes: Mapping[str, int]
    """Of all named dimensions."""
    specs: tuple[TensorSpec, ...]
    seed: int


def plan_probes(model: ModelSpec, level: VerifyLevel, seed: int) -> tuple[ProbeSpec, ...]:
    """The probes of a model, the example first.

    quick: the example, and each dimension at its minimum, one at a time. standard: also all dimensions at a prime each that was
    not used for the export. strict: also each dimension at its maximum. Every case at the sizes of the example. A model without
    dynamic dimensions gets the example's sizes again with other values.
    """
    example = example_sizes(model.dims, model.inputs)
    probes = [ProbeSpec(name="example", kind="example", sizes=example, specs=model.inputs, seed=seed)]
    for case in model.cases:
        probes.append(
            ProbeSpec(name=f"case {case.name}", kind="case", sizes=example, specs=case.inputs, seed=seed + len(probes))
        )
    if not model.dims:
        probes.append(ProbeSpec(name="other values", kind="values", sizes=example, specs=model.inputs, seed=seed + len(probes)))
    for sizes in _other_sizes(model.dims, example, level):
        name = " ".join(f"{dim}={size}" for dim, size in sizes.items() if size != example[dim])
        probes.append(ProbeSpec(name=name, kind="sizes", sizes=sizes, specs=model.inputs, seed=seed + len(probes)))
    return tuple(probes)


def example_sizes(dims: Mapping[str, Dim], specs: Sequence[TensorSpec]) -> dict[str, int]:
    """Sizes for the inputs that are exported: at least 2, pairwise different, different from every static size, and small.

    Where a dimension's range leaves no such size, the last demand is given up first.
    """
    static = {size for spec in specs for size in spec.shape if isinstance(size, int)}
    chosen: dict[str, int] = {}
    for dim in dims.values():
        allowed = [size for size in _ascending(dim, 64) if size >= SMALLEST_EXAMPLE] or [dim.min]
        free = [size for size in allowed if size not in chosen.values()]
        chosen[dim.name] = next(iter([size for size in free if size not in static] or free or allowed))
    return chosen


def draw(specs: Sequence[TensorSpec], sizes: Mapping[str, int], seed: int, dtype: str) -> dict[str, torch.Tensor]:
    """Draw inputs.

    Args:
        specs: The inputs.
        sizes: Of all named dimensions.
        seed: The same seed gives the same values, on every machine and in every process.
        dtype: Of floating inputs, name as in torch; their values are drawn in float32 and cast.

    Returns:
        A tensor on the CPU per input name.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    values = {}
    for spec in specs:
        shape = [sizes[size] if isinstance(size, str) else size for size in spec.shape]
        declared = getattr(torch, spec.dtype)
        values[spec.name] = _values(spec, shape, generator).to(
            getattr(torch, dtype) if declared.is_floating_point else declared
        )
    return values


def _values(spec: TensorSpec, shape: list[int], generator: torch.Generator) -> torch.Tensor:
    import torch

    if spec.generator == "mask":
        return _mask(shape, generator)
    if spec.generator == "normal":
        return torch.randn(shape, generator=generator)
    low, high = spec.range or (0, 2)
    if getattr(torch, spec.dtype).is_floating_point:
        return torch.rand(shape, generator=generator) * (high - low) + low
    return torch.randint(int(low), max(int(high), int(low) + 1), shape, generator=generator)


def _mask(shape: list[int], generator: torch.Generator) -> torch.Tensor:
    """Along the last axis a prefix of ones: at least one, and not all where there is room."""
    import torch

    length = shape[-1]
    ones = torch.randint(1, max(length, 2), [*shape[:-1], 1], generator=generator)
    return (torch.arange(length) < ones).to(torch.int64)


def _other_sizes(dims: Mapping[str, Dim], example: Mapping[str, int], level: VerifyLevel) -> Iterator[dict[str, int]]:
    """Sizes to try beside the example, none twice."""
    tried = [dict(example)]
    for sizes in _candidates(dims, example, level):
        if sizes not in tried:
            tried.append(sizes)
            yield sizes


def _candidates(dims: Mapping[str, Dim], example: Mapping[str, int], level: VerifyLevel) -> Iterator[dict[str, int]]:
    for dim in dims.values():
        for size in sorted({dim.min, max(dim.min, 1)}):
            yield {**example, dim.name: size}
    if level is not VerifyLevel.QUICK:
        yield _primes(dims, example)
    if level is VerifyLevel.STRICT:
        for dim in dims.values():
            yield {**example, dim.name: dim.max or max(dim.min, LARGE_SIZE)}


def _primes(dims: Mapping[str, Dim], example: Mapping[str, int]) -> dict[str, int]:
    """A prime for each dimension, none of them used for the export and no two equal; the next best where a range has none."""
    used: set[int] = set(example.values())
    chosen = {}
    for dim in dims.values():
        allowed = [size for size in _ascending(dim, 64) if size > 1 and size != example[dim.name]]
        chosen[dim.name] = next(_best(allowed, used), example[dim.name])
        used.add(chosen[dim.name])
    return chosen


def _best(allowed: Sequence[int], used: Collection[int]) -> Iterator[int]:
    unused = [size for size in allowed if size not in used]
    yield from (size for size in unused if all(size % n for n in range(2, size)))
    yield from unused
    yield from allowed


def _ascending(dim: Dim, count: int) -> list[int]:
    """The first sizes that a dimension may have."""
    return list(itertools.islice(range(dim.min, (dim.max or dim.min + count) + 1), count))
