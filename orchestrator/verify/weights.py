"""Whether the weights of the model and the constants of the artifact explain each other.

Allowed are identity, lossless cast, reshape, the layouts that eager itself uses, concatenation and splitting, folded batch
normalisation, ONNX's order of gates, and what eager computes of weights alone. Where a weight is used is seen by its name and,
for square matrices, by the product that takes it; weights of one shape that are swapped without names are parity's to catch.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence

import numpy as np

from orchestrator.result import Check, CheckStatus, Finding
from orchestrator.verify.base import TOLD, Subject, Verdict, judged
from orchestrator.verify.carried import Carried, constants
from orchestrator.verify.compare import digest, is_floating
from orchestrator.verify.placement import Placed, swapped
from orchestrator.verify.transforms import Part, allowed, recipes
from orchestrator.verify.uses import Constant, Uses, steps, to_numpy

ALIKE = 0.2
"""Of the root mean square: a constant that differs less from a weight is that weight, damaged."""
FEW = 8
"""A constant of fewer elements that nobody names is too small to be taken for a damaged weight."""

SAMPLE = 1000
"""Elements that are compared before all are."""


def check(subject: Subject) -> Verdict:
    """Every tensor that eager uses is carried, unchanged, under its own name if it has one; what is left over is told."""
    uses = subject.reference.uses()
    if not any(constant.used for constant in uses.constants):
        return _not_applicable("eager uses no parameter and no buffer")
    match = _Match(uses, constants(subject))
    problems = [*match.missing(), *match.misplaced(), *match.damaged()]
    if not problems:
        problems = [*swapped(match.placed(), subject.proto)]
    findings = [*match.untraceable(), *match.unused(), *match.leftover()]
    return Verdict(check=judged("weights", problems, match.summary()).check, findings=tuple(findings))


def _not_applicable(reason: str) -> Verdict:
    return Verdict(check=Check(id="weights", status=CheckStatus.NOT_APPLICABLE, detail=reason))


class _Match:
    """The state of the model beside the constants of the artifact."""

    def __init__(self, uses: Uses, carried: Sequence[Carried]) -> None:
        self.uses, self.carried = uses, carried
        self.index: dict[str, list[Carried]] = {}
        for item in carried:
            self.index.setdefault(item.digest, []).append(item)
        self.owners: dict[int, list[Sequence[Constant]]] = {}
        """By constant of the artifact, what it may be; several tensors where a batch normalisation was folded."""
        self.found: set[int] = set()
        self.turned: list[str] = []
        self.by_name = {name: constant for constant in uses.constants for name in constant.aliases}
        self._match()

    # Matching

    def _match(self) -> None:
        for constant in self.uses.all:
            if constant.used and self._direct(constant):
                self.found.add(id(constant))
        for recipe in recipes(self.uses, self._absent()):
            hits = [self._part(part) for part in recipe.parts]
            if all(hits):
                self._own([item for hit in hits for item in hit], recipe.of)
        for constant in self._absent():
            ways = (self._computed, self._laid_out, self._reordered, self._pieces, self._cast, self._dropped)
            if any(way(constant) for way in ways):
                self.found.add(id(constant))
        for item in self._left():
            self._second_layout(item)

    def _absent(self) -> list[Constant]:
        return [constant for constant in self.uses.all if constant.used and id(constant) not in self.found]

    def _own(self, items: Sequence[Carried], of: Sequence[Constant]) -> None:
        """Some constants of the artifact carry these tensors; none carry nothing."""
        for item in items:
            self.owners.setdefault(id(item), []).append(of)
        if items:
            self.found.update(id(constant) for constant in of)

    def _direct(self, constant: Constant) -> bool:
        """As a whole, or every part and layout of it that eager uses."""
        if whole := self.index.get(constant.digest):
            self._own(whole, [constant])
            self._orientation(constant, whole, flipped=False)
            return True
        hits = [self.index.get(part, []) for part, _ in constant.used_parts]
        for (_, shape), hit in zip(constant.used_parts, hits, strict=True):
            self._own_quietly(hit, constant)
            if shape[::-1] == constant.values.shape:
                self._orientation(constant, hit, flipped=True)
        return bool(hits) and all(hits)

    def _second_layout(self, item: Carried) -> None:
        """Of a tensor that is there as a whole as well: a tied embedding is looked up and multiplied by."""
        for constant in self.uses.constants:
            if constant.values.size == item.values.size > 1:
                for part, shape in constant.used_parts:
                    if part == item.digest:
                        self._own_quietly([item], constant)
                        self._orientation(constant, [item], flipped=shape[::-1] == constant.values.shape)

    def _own_quietly(self, items: Sequence[Carried], constant: Constant) -> None:
        for item in items:
            self.owners.setdefault(id(item), []).append([constant])

    def _orientation(self, constant: Constant, items: Sequence[Carried], *, flipped: bool) -> None:
        values = constant.values
        if not constant.turned or values.ndim != 2 or values.shape[0] != values.shape[1] or np.array_equal(values, values.T):
            return
        for item in items:
            if item.turned and not {turned != flipped for turned in item.turned} & constant.turned:
                self.turned.append(f"{constant.name} is multiplied transposed (as {item.name})")

    def _part(self, part: Part) -> list[Carried]:
        # A fold may round to no change at all: what carries it is then a tensor's own constant, found before.
        if part.allowed is None or (hits := self.index.get(digest(part.values), [])):
            return self.index.get(digest(part.values), [])
        hits = [item for item in self._of_size(part.values) if _within(item.values, part.values, part.allowed)]
        return hits or self._blocked(part.values, float(part.allowed.max()))

    def _blocked(self, values: np.ndarray, allowed: float) -> list[Carried]:
        """The same values in a layout of the runtime's own."""
        return [item for item in self._left() if item.blocked and _same_values(item.values, values, allowed)]

    def _computed(self, constant: Constant) -> bool:
        if not constant.computed or not is_floating(constant.values.dtype):
            return False
        hits = self._part(Part(values=constant.values, allowed=allowed(constant.values, _level(constant.values))))
        self._own(hits, [constant])
        return bool(hits)

    def _laid_out(self, constant: Constant) -> bool:
        """As eager lays it out to compute something of constants alone."""
        hits = [item for layout in constant.layouts.values() for item in self.index.get(digest(to_numpy(layout)), [])]
        self._own_quietly(hits, constant)
        return bool(hits)

    def _reordered(self, constant: Constant) -> bool:
        hits = self._blocked(constant.values, 0.0)
        self._own(hits, [constant])
        return bool(hits)

    def _of_size(self, values: np.ndarray) -> list[Carried]:
        return [
            item
            for item in self.carried
            if id(item) not in self.owners and item.values.size == values.size and item.values.dtype == values.dtype
        ]

    def _pieces(self, constant: Constant) -> bool:
        """Side by side with others in one constant, or spread over several."""
        for item in self._left():
            if item.values.size > constant.values.size > 1 and any(
                _contains(layout, constant.values) for layout in _layouts(item.values)
            ):
                self._own([item], [constant])
                return True
        pieces = [item for item in self._left() if 1 < item.values.size < constant.values.size]
        pieces = [item for item in pieces if any(_contains(layout, item.values) for layout in _layouts(constant.values))]
        if pieces and sum(item.values.size for item in pieces) >= constant.values.size:
            self._own(pieces, [constant])
            return True
        return False

    def _cast(self, constant: Constant) -> bool:
        """To another dtype, without a loss."""
        values = constant.values
        for item in self._left():
            if item.values.size == values.size and item.values.dtype != values.dtype:
                back = item.values.astype(values.dtype)
                there = values.astype(item.values.dtype)
                if digest(back) == digest(values) and digest(there) == digest(item.values):
                    self._own([item], [constant])
                    return True
        return False

    def _dropped(self, constant: Constant) -> bool:
        """A bias of zeros, which exporters leave out."""
        return not constant.values.any() and not self._of_size(constant.values)

    def _left(self) -> list[Carried]:
        return [item for item in self.carried if id(item) not in self.owners]

    # What is wrong

    def _explained(self, constant: Constant) -> bool:
        if id(constant) in self.found:
            return True
        results = [result for result in constant.results if result.used]
        return not constant.views and bool(results) and all(map(self._explained, results))

    def _unexplained(self) -> list[Constant]:
        return [c for c in self.uses.constants if c.used and not c.opaque and not self._explained(c)]

    def missing(self) -> Iterator[str]:
        """Tensors that nothing carries, with the constant that is most like each."""
        for constant in self._unexplained():
            likeness = self._likeness(constant)
            if likeness or not self._may_be_folded(constant):
                yield f"{constant.name} {likeness or 'is used by the model and carried by no initializer'}"

    def untraceable(self) -> Iterator[Finding]:
        """Tensors that eager turns into others, of which none is there in a size that could be compared."""
        gone = [c.name for c in self._unexplained() if not self._likeness(c) and self._may_be_folded(c)]
        gone += [f"{c.name} ({c.opaque})" for c in self.uses.constants if c.opaque and not self._explained(c)]
        if gone:
            yield Finding(kind="weights_not_traceable", message=f"not traceable in the artifact: {_some(gone)}")

    def _may_be_folded(self, constant: Constant) -> bool:
        return not constant.views and bool(constant.results)

    def _likeness(self, constant: Constant) -> str | None:
        """How the constant that must be it differs; None if none has its size."""
        named = [item for item in self._left() if self.by_name.get(item.name) is constant]
        expected = [step.values for step in steps(constant)]
        parts = [part for recipe in recipes(self.uses, [constant]) for part in recipe.parts]
        expected += [part.values for part in parts if not self._part(part)]
        pairs = [
            (item, values) for values in expected for item in named or self._of_size(values) if item.values.size == values.size
        ]
        if pairs:
            item, values = min(pairs, key=lambda pair: _distance(pair[0].values, pair[1]))
        elif named:
            item, values = named[0], constant.values
        else:
            return None
        return f"is not what {item.name} holds: {_difference(item.values, values)}"

    def misplaced(self) -> Iterator[str]:
        """Weights under the name of another, or transposed."""
        yield from self.turned
        for item in self.carried:
            named, owners = self.by_name.get(item.name), self.owners.get(id(item))
            if named is not None and named.used and owners and not any(named in group for group in owners):
                yield f"the initializer {item.name} holds {owners[0][0].name}"

    def placed(self) -> dict[str, Placed]:
        """By name, the constants that can be one thing only: by their values, or of several equal ones by their name."""
        found = {}
        for item in self.carried:
            groups = self.owners.get(id(item), [])
            named = [group for group in groups if self.by_name.get(item.name) in group]
            for group in named[:1] or (groups if len(groups) == 1 else []):
                bits = functools.reduce(operator.or_, (owner.bits for owner in group))
                found[item.name] = Placed(is_=group[0], stands_for=bits, shape=item.values.shape)
        return found

    def damaged(self) -> Iterator[str]:
        """Constants that are a weight almost, though the weight itself is there as well."""
        missing = {id(constant) for constant in self._unexplained()}
        for item in self._left():
            named = self.by_name.get(item.name)
            if named is not None and named.used and id(named) not in missing and not named.opaque:
                yield f"{named.name} is not what {item.name} holds: {_difference(item.values, named.values)}"
            elif named is None and item.is_floating and item.values.size >= FEW and not missing:
                yield from self._almost(item)

    def _almost(self, item: Carried) -> Iterator[str]:
        same_size = [c for c in self.uses.all if c.used and c.values.size == item.values.size]
        distances = [_distance(item.values, constant.values) for constant in same_size]
        if distances and min(distances) < ALIKE:
            constant = same_size[distances.index(min(distances))]
            yield f"{item.name} is almost {constant.name}: {_difference(item.values, constant.values)}"

    # What is worth knowing

    def summary(self) -> str:
        """For a person."""
        used = [constant for constant in self.uses.constants if constant.used]
        floats = sum(item.values.size for item in self.carried if item.is_floating)
        own = sum(item.values.size for item in self.carried if item.is_floating and id(item) in self.owners)
        return f"{len(used)} tensors that the model uses are carried; {own / max(floats, 1):.1%} of the constants are theirs"

    def unused(self) -> Iterator[Finding]:
        """Parameters that eager never looks at; buffers without use are usual."""
        parameters = dict(self.uses.module.named_parameters())
        names = [constant.name for constant in self.uses.constants if not constant.used and constant.name in parameters]
        if names:
            yield Finding(kind="unused_weights", message=f"the model never uses {_some(names)}")

    def leftover(self) -> Iterator[Finding]:
        """Constants of some size that are no weight."""
        names = [
            f"{item.name} {list(item.values.shape)}" for item in self._left() if item.is_floating and item.values.size >= FEW
        ]
        if names:
            yield Finding(kind="constants_without_counterpart", message=f"no weights of the model: {_some(names)}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:TOLD]) + (f" and {len(names) - TOLD} more" if len(names) > TOLD else "")


def _level(values: np.ndarray) -> np.ndarray:
    """A computed tensor may have elements that cancelled: each is allowed what its neighbours are."""
    wide = np.abs(values.astype(np.float64))
    return np.asarray(np.maximum(wide, np.sqrt(np.mean(np.square(wide)))))


def _layouts(values: np.ndarray) -> list[np.ndarray]:
    return [values, values.T] if values.ndim == 2 else [values]


def _contains(whole: np.ndarray, piece: np.ndarray) -> bool:
    """Whether the elements of the piece follow each other in the whole."""
    if whole.dtype != piece.dtype:
        return False
    flat, wanted = whole.reshape(-1), piece.reshape(-1)
    starts = np.flatnonzero(flat[: flat.size - wanted.size + 1] == wanted[0])
    return any(np.array_equal(flat[start : start + wanted.size], wanted) for start in starts[:FEW])


def _within(actual: np.ndarray, expected: np.ndarray, allowed: np.ndarray) -> bool:
    """In the layout of the expected one, or transposed."""
    for layout in _layouts(expected):
        flat = actual.reshape(-1), layout.reshape(-1), (allowed if layout is expected else allowed.T).reshape(-1)
        # Most that are not equal differ in a few places already.
        step = max(1, actual.size // SAMPLE)
        if _near(*(values[::step] for values in flat)) and _near(*flat):
            return True
    return False


def _near(actual: np.ndarray, expected: np.ndarray, allowed: np.ndarray) -> bool:
    return bool((np.abs(actual.astype(allowed.dtype) - expected.astype(allowed.dtype)) <= allowed).all())


def _same_values(actual: np.ndarray, expected: np.ndarray, allowed: float) -> bool:
    """In whatever order, and apart from zeros."""
    if actual.dtype != expected.dtype:
        return False
    one, other = (np.sort(values[values != 0].astype(np.float64)) for values in (actual, expected))
    return one.size == other.size and bool((np.abs(one - other) <= allowed).all())


def _distance(actual: np.ndarray, expected: np.ndarray) -> float:
    """Root mean square of the difference over that of the expected one."""
    one, other = actual.reshape(-1).astype(np.float64), expected.reshape(-1).astype(np.float64)
    return float(np.sqrt(np.mean(np.square(one - other)) / max(float(np.mean(np.square(other))), np.finfo(np.float64).tiny)))


def _difference(actual: np.ndarray, expected: np.ndarray) -> str:
    if actual.size != expected.size:
        return f"{list(actual.shape)} instead of {list(expected.shape)}"
    one, other = actual.reshape(-1), expected.reshape(-1)
    different = np.flatnonzero(one != other)
    if not different.size:
        return f"dtype {actual.dtype.name} instead of {expected.dtype.name}"
    first = int(different[0])
    place = ", ".join(str(int(index)) for index in np.unravel_index(first, expected.shape))
    return f"{different.size} of {one.size} elements differ, first at [{place}]: {one[first]:.6g} instead of {other[first]:.6g}"
