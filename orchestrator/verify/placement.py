"""Whether two tensors of one shape are in each other's place, for the weights whose names tell nothing.

Every use of a weight has a place in the flow of values: the other weights on which what it meets depends. Where the artifact's
flow fits the model's only after two weights have changed places, they are swapped. Weights whose places are alike, such as
query and key without a bias, are not told apart; nor is anything in a model with functions of its own.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx

from orchestrator.verify.uses import Constant

SIZES_ONLY = frozenset({"Shape", "Size"})
"""Operators whose answer does not depend on values: it is as good as a constant."""
REPEATED = frozenset({"Loop", "Scan"})
"""Operators whose body sees what an earlier round gave."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Placed:
    """What a constant of the artifact was recognised as."""

    is_: Constant
    stands_for: int
    """State tensors that it carries, as bits."""
    shape: tuple[int, ...]


def swapped(placed: Mapping[str, Placed], model: onnx.ModelProto) -> Iterator[str]:
    """The first pair in each other's place.

    Args:
        placed: By name, the constants that were recognised without doubt.
        model: The artifact.
    """
    if model.functions:
        return
    wrong = _wrong(placed, model)
    for one, other in _pairs(placed, wrong):
        exchanged = _wrong({**placed, one: placed[other], other: placed[one]}, model)
        if len(exchanged) < len(wrong) and not {one, other} & exchanged.keys():
            yield f"{placed[one].is_.name} and {placed[other].is_.name} are in each other's place ({one}, {other})"
            return


def _pairs(placed: Mapping[str, Placed], wrong: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Of one shape, each out of place, or met or missed by one that is; where both are out of place, first."""
    met = functools.reduce(operator.or_, wrong.values(), 0)
    suspects = [name for name, item in placed.items() if name in wrong or item.stands_for & met]
    pairs = [
        (one, other)
        for one, other in itertools.combinations(suspects, 2)
        if placed[one].shape == placed[other].shape and placed[one].stands_for != placed[other].stands_for
    ]
    yield from sorted(pairs, key=lambda pair: -len({*pair} & wrong.keys()))


def _wrong(placed: Mapping[str, Placed], model: onnx.ModelProto) -> dict[str, int]:
    """The constants whose place does not fit, with the state tensors that are missing before them or should not be there."""
    flow = _Flow(placed)
    flow.follow(model.graph, {})
    present = functools.reduce(operator.or_, (item.stands_for for item in placed.values()), 0)
    found = {name: _misfit(placed[name], uses, present) for name, uses in flow.before.items() if placed[name].is_.before}
    return {name: misfit for name, misfit in found.items() if misfit}


def _misfit(item: Placed, uses: Sequence[int], present: int) -> int:
    """Before each use must be all that is before every use in eager, and no more than is before or beside any."""
    expected = item.is_.before
    least = functools.reduce(operator.and_, expected) & present
    most = functools.reduce(operator.or_, expected) | item.is_.beside | item.stands_for
    return functools.reduce(operator.or_, ((least & ~before) | (before & ~most & present) for before in uses))


class _Flow:
    """What is known of each value: the constants that it is made of, or the state tensors on which it depends."""

    def __init__(self, placed: Mapping[str, Placed]) -> None:
        self.placed = placed
        self.before: dict[str, list[int]] = {}
        """By constant, at each use: the state tensors on whose values what it meets depends."""

    def follow(self, graph: onnx.GraphProto, outer: Mapping[str, list[str] | int], *, repeated: bool = False) -> list[int]:
        """Go through a graph in its order; returns on what its outputs depend."""
        known: dict[str, list[str] | int] = dict(outer)
        for tensor in graph.initializer:
            known[tensor.name] = self._made_of(tensor.name)
        known.update({value.name: 0 for value in graph.input if value.name not in known})
        for node in graph.node:
            self._node(node, known, repeated)
        return [self._bits(known.get(value.name, 0)) for value in graph.output]

    def _made_of(self, name: str) -> list[str]:
        return [name] if name in self.placed else []

    def _node(self, node: onnx.NodeProto, known: dict[str, list[str] | int], repeated: bool) -> None:
        taken = [known[name] for name in node.input if name in known]
        graphs = [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
        if graphs:
            self._branches(node, graphs, known, taken, repeated)
            return
        constants = [item for held in taken if isinstance(held, list) for item in held]
        masks = [held for held in taken if isinstance(held, int)]
        if not masks:
            made_of = constants if node.op_type != "Constant" else self._made_of(node.output[0])
            known.update(dict.fromkeys(node.output, made_of))
            return
        before = functools.reduce(operator.or_, masks)
        if not repeated:
            for name in constants:
                self.before.setdefault(name, []).append(before)
        after = before | self._bits(constants)
        known.update(dict.fromkeys(node.output, [] if node.op_type in SIZES_ONLY else after))

    def _branches(
        self,
        node: onnx.NodeProto,
        graphs: Sequence[onnx.GraphProto],
        known: dict[str, list[str] | int],
        taken: Sequence[list[str] | int],
        repeated: bool,
    ) -> None:
        """Outputs of an If depend on those of both branches; those of a loop on all that goes into it as well."""
        loops = node.op_type in REPEATED
        outputs = [self.follow(graph, known, repeated=repeated or loops) for graph in graphs]
        if loops:
            everything = functools.reduce(
                operator.or_, [*map(self._bits, taken), *(bits for own in outputs for bits in own)], 0
            )
            known.update(dict.fromkeys(node.output, everything))
            return
        for number, name in enumerate(node.output):
            known[name] = functools.reduce(operator.or_, (own[number] for own in outputs))

    def _bits(self, held: list[str] | int) -> int:
        if isinstance(held, int):
            return held
        return functools.reduce(operator.or_, (self.placed[name].stands_for for name in held), 0)
