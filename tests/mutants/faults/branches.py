"""A decision by values that was recorded on one of its sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from tests.mutants.work import Fault, Place, Work


def _frozen(side: bool) -> Callable[[Work], Iterator[Place]]:
    def places(work: Work) -> Iterator[Place]:
        for number, node in enumerate(work.nodes("If")):
            always = partial(work.initializer, f"always_{number}", np.array(side))
            yield Place(where=f"If {number}", damage=lambda node=node, always=always: node.replace_input_with(0, always()))

    return places


FAULTS = (
    Fault(name="branch frozen, condition true", check="branches", numeric=True, places=_frozen(True)),
    Fault(name="branch frozen, condition false", check="branches", numeric=True, places=_frozen(False)),
)
