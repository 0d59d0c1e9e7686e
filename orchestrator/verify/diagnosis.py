"""Why an artifact disagrees with eager, in one line: where eager goes another way, and the first value that departs.

Runs only after a check has failed. What cannot be located is said to be so, with the reason.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from exporters import sources
from orchestrator.result import Check, CheckStatus
from orchestrator.verify.agreement import agreement
from orchestrator.verify.base import ArtifactError, Subject
from orchestrator.verify.departure import Departure
from orchestrator.verify.intermediates import Computed, TooLargeError, of_artifact, of_eager
from orchestrator.verify.paths import parting
from orchestrator.verify.reference import Probe, Runner, tensors
from orchestrator.verify.retrace import retraced
from orchestrator.verify.search import Inputs

NUMERIC = ("parity", "shapes")
"""Checks that compare answers with eager's."""
DIMENSION = "dimension "
"""How `interface` begins to tell of a range that is not the one that was asked for."""
_NODE = re.compile(r"Name:'(?P<name>[^']+)'")
"""How ONNX Runtime names the node that it could not run."""
EPSILONS = 256
"""Of the dtype, by which a value that is right may differ."""


def diagnosed(subject: Subject, checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks, of which the first numeric one that failed says where the artifact departs from eager."""
    failed = [check for check in checks if check.id in NUMERIC and check.status is CheckStatus.FAILED]
    wrong = [probe for probe in subject.reference.probes if failed and _is_wrong(subject, probe)]
    if not wrong:
        return tuple(checks)
    # The smallest takes the least memory.
    probe = min(wrong, key=lambda one: sum(values.size for values in one.inputs.values()))
    try:
        diagnosis = _Diagnosis(subject, probe, failed[0].measured)
        cause, told = diagnosis.cause(), diagnosis.told()
    except Exception as error:
        cause, told = "", f"Where it departs from eager could not be located: {type(error).__name__}: {error}"
    return tuple(_completed(check, told if check is failed[0] else cause) for check in checks)


def _completed(check: Check, told: str) -> Check:
    """The check with what was found out, if it is about the numbers or about a dimension that is not what was asked for."""
    concerned = check.id in NUMERIC or (check.id == "interface" and check.detail.startswith(DIMENSION))
    wanted = told and concerned and check.status is CheckStatus.FAILED
    return replace(check, detail=f"{check.detail}. {told}") if wanted else check


def _is_wrong(subject: Subject, probe: Probe) -> bool:
    return agreement("diagnosis", subject, [probe]).check.status is CheckStatus.FAILED


class _Diagnosis:
    """What can be told of one probe on which the artifact is wrong."""

    def __init__(self, subject: Subject, probe: Probe, measured: float | None) -> None:
        self._subject, self._probe = subject, probe
        outputs = [values.dtype for values in probe.outputs if values.dtype.kind == "f"]
        noise = max((EPSILONS * float(np.finfo(dtype).eps) for dtype in outputs), default=0.0)
        self._tolerance = max(noise, min(1e-3, (measured or 1.0) / 30))

    def cause(self) -> str:
        """A branch, a loop or a number that is otherwise on the example, in one line; empty if there is none."""
        return _sentence(self._cause)

    def told(self) -> str:
        """The same with the first value that departs."""
        parts = [part for part in (self._cause, self._departure()) if part]
        return _sentence("; ".join(parts) or "where it departs from eager could not be located")

    @functools.cached_property
    def _cause(self) -> str:
        return self._other_way() or self._frozen()

    def _other_way(self) -> str:
        """A branch or a loop that goes otherwise there than on the example that was exported."""
        example = self._subject.reference.example
        if self._probe is example:
            return ""
        line = parting(partial(self._eager, example), partial(self._eager, self._probe))
        return f"on {self._probe.name} eager goes another way than on the example after {line}" if line else ""

    def _frozen(self) -> str:
        # dynamo too bakes a size in where a trace makes a constant of it.
        traces = retraced(self._subject) if self._probe.sizes != self._subject.reference.example.sizes else None
        places = [place for place in traces.frozen if place.source] if traces else []
        if not places:
            return ""
        line = str(places[0].source)
        return f"what varies with the inputs becomes a constant at {self._with_text(line)}"

    def _departure(self) -> str:
        try:
            computed = of_eager(self._subject.module, _inputs(self._probe))
            values = of_artifact(self._subject.proto, self._subject.folder, self._probe.inputs)
        except TooLargeError as error:
            return f"the first value that is not eager's could not be located: {error}"
        except ArtifactError as error:
            return self._stopped(str(error))
        graph = self._subject.proto.graph
        eager = [value.values for value in computed]
        departing = Departure(graph, values, eager, self._probe.outputs, self._tolerance)
        if (stale := departing.stale()) is not None:
            return self._overwritten(computed, stale)
        node = departing.first()
        if node is None:
            return ""
        told = f"the first value that is not eager's is that of {self._node(node.name, node.op_type)}"
        if node.name not in self._subject.sources and (missing := departing.missing()) is not None:
            told += f", and the first of eager's that it lacks that of {self._with_text(computed[missing].line)}"
        return told

    def _overwritten(self, computed: Sequence[Computed], place: int) -> str:
        """The artifact answers with what eager has at a place and writes over afterwards."""
        written = next((value.line for value in computed[place:] if value.in_place), None)
        later = f" before it writes in place at {self._with_text(written)}" if written else " and goes on from"
        return f"the artifact answers with what eager has at {self._with_text(computed[place].line)}{later}"

    def _stopped(self, message: str) -> str:
        found = _NODE.search(message)
        if found is None:
            return ""
        kinds = {node.name: node.op_type for node in self._subject.proto.graph.node}
        return f"it stops at {self._node(found['name'], kinds.get(found['name'], ''))}"

    def _node(self, name: str, kind: str) -> str:
        line = self._subject.sources.get(name)
        return f"node {name} ({kind})" + (f" of {self._with_text(line)}" if line else "")

    @staticmethod
    def _with_text(line: str) -> str:
        text = sources.text(line)
        return f"{line}: `{text}`" if text else line

    def _eager(self, probe: Probe) -> None:
        Runner(self._subject.module)(_inputs(probe))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _inputs(probe: Probe) -> Inputs:
    return dict(zip(probe.inputs, tensors(probe), strict=True))
