"""A traced export once more at another example, as a trace only: what it has frozen is named."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch

from exporters import traces
from orchestrator.verify.base import Subject
from orchestrator.verify.reference import Probe, tensors


@dataclass(frozen=True, kw_only=True)
class Retraced:
    """What two traces of a module tell."""

    asked: frozenset[str]
    """Lines, `package/file.py:12`, at which the trace turned a tensor into a Python value."""
    frozen: tuple[traces.Frozen, ...]
    """Where the traces differ; nothing if there is no other example to trace."""
    other: str
    """Name of the probe that was the other example."""


_seen: weakref.WeakKeyDictionary[torch.nn.Module, Retraced | None] = weakref.WeakKeyDictionary()
"""By module: the opsets of a unit share it."""


def retraced(subject: Subject) -> Retraced | None:
    """Traces of the candidate's module on its example and on the probe whose sizes differ most; None if it cannot be traced."""
    if subject.module not in _seen:
        try:
            _seen[subject.module] = _retraced(subject)
        except Exception:  # whatever a model that is not made for tracing raises
            _seen[subject.module] = None
    return _seen[subject.module]


def _retraced(subject: Subject) -> Retraced:
    example, others = subject.reference.example, _others(subject)
    one = traces.trace(subject.module, tensors(example))
    if not others:
        return Retraced(asked=one.converted, frozen=(), other="")
    frozen = traces.frozen(one, traces.trace(subject.module, tensors(others[-1])))
    return Retraced(asked=one.converted, frozen=tuple(frozen), other=others[-1].name)


def _others(subject: Subject) -> list[Probe]:
    """Those of other sizes or values, the one with the most differences last; of equal ones the smallest, which costs least."""
    example = subject.reference.example

    def order(probe: Probe) -> tuple[int, int]:
        different = sum(size != example.sizes[name] for name, size in probe.sizes.items())
        return different, -sum(values.size for values in probe.inputs.values())

    return sorted((probe for probe in subject.reference.probes if probe.kind in ("sizes", "values")), key=order)
