"""Eager's answers as bytes, so that workers and later nights need not ask the same module again: a safetensors file.

Inputs that a search tried are not kept, only what came of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from orchestrator.result import Finding
from orchestrator.verify.reference import Answers, Kind, Probe, array, tensor_of
from orchestrator.verify.search import Search
from orchestrator.verify.sites import Site, Value

ENTRY = "answers"
"""Of the file's metadata."""


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """A probe without its arrays."""

    name: str
    kind: Kind
    sizes: Mapping[str, int]
    inputs: tuple[str, ...]
    outputs: int
    exact: bool
    decided: tuple[tuple[Site, tuple[Value, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """Answers without their arrays."""

    probes: tuple[_Probe, ...]
    turned: tuple[_Probe, ...]
    edges: tuple[_Probe, ...]
    vacuous: Mapping[str, str]
    findings: tuple[Finding, ...]
    raising: tuple[Site, ...]
    evaluations: int


GROUPS = ("probes", "turned", "edges")


def dump(answers: Answers) -> bytes:
    """The answers as the bytes of a safetensors file; the same for equal answers."""
    groups = {group: getattr(answers, group) for group in GROUPS}
    arrays = {
        f"{group}/{number}/{name}": tensor_of(values).contiguous()
        for group, probes in groups.items()
        for number, probe in enumerate(probes)
        for name, values in _named(probe)
    }
    rest = _Answers(
        **{group: tuple(_without_arrays(probe) for probe in probes) for group, probes in groups.items()},
        vacuous=answers.vacuous,
        findings=answers.findings,
        raising=tuple(sorted(answers.search.raising, key=str)),
        evaluations=answers.search.evaluations,
    )
    return save(arrays, {ENTRY: msgspec.json.encode(rest).decode()})


def load(path: Path) -> Answers | None:
    """What a file keeps; None if it is of another version of us."""
    try:
        with safe_open(path, framework="pt") as file:
            rest = msgspec.json.decode((file.metadata() or {})[ENTRY], type=_Answers)
            names = list(file.keys())
            arrays = {name: array(file.get_tensor(name)) for name in names}
    except (SafetensorError, msgspec.MsgspecError, KeyError):
        return None
    return Answers(
        **{group: tuple(_probes(getattr(rest, group), group, arrays)) for group in GROUPS},
        vacuous=rest.vacuous,
        findings=rest.findings,
        search=Search(raising=frozenset(rest.raising), evaluations=rest.evaluations),
    )


def _named(probe: Probe) -> Iterator[tuple[str, np.ndarray]]:
    yield from ((f"input/{name}", values) for name, values in probe.inputs.items())
    yield from ((f"output/{number}", values) for number, values in enumerate(probe.outputs))
    yield from ((f"exact/{number}", values) for number, values in enumerate(probe.exact or ()))


def _without_arrays(probe: Probe) -> _Probe:
    return _Probe(
        name=probe.name,
        kind=probe.kind,
        sizes=probe.sizes,
        inputs=tuple(probe.inputs),
        outputs=len(probe.outputs),
        exact=probe.exact is not None,
        decided=tuple(probe.decided.items()),
    )


def _probes(kept: Sequence[_Probe], group: str, arrays: Mapping[str, Any]) -> Iterator[Probe]:
    for number, probe in enumerate(kept):
        place = f"{group}/{number}"
        outputs = range(probe.outputs)
        yield Probe(
            name=probe.name,
            kind=probe.kind,
            sizes=probe.sizes,
            inputs={name: arrays[f"{place}/input/{name}"] for name in probe.inputs},
            outputs=tuple(arrays[f"{place}/output/{k}"] for k in outputs),
            exact=tuple(arrays[f"{place}/exact/{k}"] for k in outputs) if probe.exact else None,
            decided=dict(probe.decided),
        )
