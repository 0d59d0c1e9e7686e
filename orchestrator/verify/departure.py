"""The first node of an artifact whose value is not eager's: values are matched by shape and content, wherever they are from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

SIZES = frozenset({"Shape", "Size"})
"""Operators whose answers eager has as Python numbers, which nobody records."""


class Departure:
    """An artifact's values beside eager's.

    Args:
        graph: Of the artifact.
        values: What its nodes answered, by name.
        eager: What eager's operators answered, in order.
        expected: What eager answered in the end, an array per output.
        tolerance: Largest difference of values that are the same, relative to the largest element.
    """

    def __init__(
        self,
        graph: onnx.GraphProto,
        values: Mapping[str, np.ndarray],
        eager: Sequence[np.ndarray],
        expected: Sequence[np.ndarray],
        tolerance: float,
    ) -> None:
        self._graph, self._values, self._eager, self._tolerance = graph, values, eager, tolerance
        self._known = _Known(eager, tolerance)
        names = [value.name for value in graph.output]
        self._wrong = [
            name
            for name, right in zip(names, expected, strict=False)
            if name in values and _Known([right], tolerance).place(values[name]) is None
        ]

    def stale(self) -> int | None:
        """The place in eager's answers of a value that a wrong output has: it was right until eager wrote over it."""
        return next((place for name in self._wrong if (place := self._known.place(self._values[name])) is not None), None)

    def first(self) -> onnx.NodeProto | None:
        """The first node above a wrong output whose value eager never computed, while eager had all that it was computed from.

        Returns:
            None where no output is wrong by more than the tolerance.
        """
        sizes = _sizes(self._graph)
        producers = {name: node for node in self._graph.node for name in node.output if name}
        good = {name for name in producers if name in sizes or (name not in self._wrong and self._is_eagers(name))}
        above = _above(self._wrong, producers, good)
        for node in self._graph.node:
            if above & {*node.output} and not [name for name in node.input if name in producers and name not in good]:
                return node
        return None

    def missing(self) -> int | None:
        """The place of the first of eager's answers that no node of the artifact has."""
        known = _Known([*self._values.values()], self._tolerance)
        return next((place for place, value in enumerate(self._eager) if known.place(value) is None), None)

    def _is_eagers(self, name: str) -> bool:
        return name in self._values and self._known.place(self._values[name]) is not None


def _above(outputs: Sequence[str], producers: Mapping[str, onnx.NodeProto], good: set[str]) -> set[str]:
    """The values that lead to the outputs, up to those that are good."""
    found: set[str] = set()
    todo = [name for name in outputs if name in producers]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [above for above in producers[name].input if above in producers and above not in good]
    return found


def _sizes(graph: onnx.GraphProto) -> set[str]:
    """Values that are made of sizes and constants only."""
    made = {tensor.name for tensor in graph.initializer} | {""}
    computed: set[str] = set()
    for node in graph.node:
        if node.op_type in SIZES or made.issuperset(node.input):
            made |= {*node.output}
            computed |= {*node.output}
    return computed


class _Known:
    """Values to look up by content."""

    def __init__(self, values: Sequence[np.ndarray], tolerance: float) -> None:
        self._tolerance = tolerance
        self._by_shape: defaultdict[tuple[tuple[int, ...], str], list[tuple[int, np.ndarray]]] = defaultdict(list)
        for place, value in enumerate(values):
            self._by_shape[value.shape, value.dtype.name].append((place, value))

    def place(self, value: np.ndarray) -> int | None:
        """Which of them is the same, the first if several are."""
        candidates = self._by_shape.get((value.shape, value.dtype.name), ())
        return next((place for place, other in candidates if self._same(value, other)), None)

    def _same(self, value: np.ndarray, other: np.ndarray) -> bool:
        if value.dtype.kind in "biu" or not value.size:
            return bool((value == other).all())
        one, two = value.reshape(-1), other.reshape(-1)
        finite = two[np.isfinite(two)]
        allowed = self._tolerance * float(np.abs(finite).max(initial=0))
        # A few elements tell most values apart, and cost little.
        return all(_close(one[part], two[part], allowed) for part in (slice(None, None, max(one.size // 16, 1)), slice(None)))


def _close(one: np.ndarray, two: np.ndarray, allowed: float) -> bool:
    with np.errstate(invalid="ignore"):
        same = np.abs(one.astype(np.float64) - two.astype(np.float64)) <= allowed
    return bool((same | (one == two) | (np.isnan(one) & np.isnan(two))).all())
