"""Whether a damaged artifact computes anything else than the good one, on many probes that the verifier never sees.

First in ONNX Runtime, each node as it stands: what departs there by far more than float32 can be off departs. The rest is
settled by both graphs in float64, in ONNX's reference evaluator.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from orchestrator.spec import ModelSpec
from orchestrator.verify.compare import FLOOR_ULPS
from orchestrator.verify.probes import draw, example_sizes
from orchestrator.verify.reference import array

SEED = 1_000_000
"""Far from the verifier's, which start at the seed of a subject."""
SIZES = ((), (7, 9, 13), (1, 6, 2), (11, 1, 17))
"""Sizes of the dynamic dimensions, in their order; the example's where they run out."""
SCALES = (1.0, 1.0, 1e-3, 30.0, 1e4)
FLOOR = FLOOR_ULPS * float(np.finfo(np.float32).eps)
"""From here on a distance counts: the smallest bound that the verifier ever sets."""
CLEAR = 1e-4
"""A thousand units in the last place of float32, which no order of additions in so small a model is off."""

Inputs = Mapping[str, np.ndarray]
Answer = Sequence[np.ndarray] | None


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A good artifact and its answers."""

    good: Path
    model: ModelSpec

    @functools.cached_property
    def probes(self) -> list[Inputs]:
        """Dense: every size at every scale, every case, one that is not finite and one of zeros mostly."""
        return list(_probes(self.model))

    @functools.cached_property
    def answers(self) -> list[Answer]:
        """In float32."""
        return list(_answers(self.good, self.probes))

    @functools.cached_property
    def exact(self) -> list[Answer]:
        """In float64."""
        return list(_exact(self.good, self.probes))

    def warm(self) -> None:
        """Ask the good artifact now, so that processes forked later need not."""
        assert self.answers
        with contextlib.suppress(*UNKNOWN):
            assert self.exact

    def distance(self, damaged: Path) -> float:
        """The largest error of the damaged artifact against the good one, free of scale; infinite if it does not answer alike.

        Measured in float32 if it is clear there, else in float64.
        """
        worst = _worst(_answers(damaged, self.probes), self.answers, CLEAR)
        if worst == 0 or worst > CLEAR:
            return worst
        try:
            return _worst(_exact(damaged, self.probes), self.exact, FLOOR)
        except UNKNOWN:
            return worst


UNKNOWN = (NotImplementedError, RuntimeError, ValueError)
"""The evaluator (onnx 1.23) does not know every form of every operator: then what float32 tells has to do."""


def _worst(actual: Iterable[Answer], expected: Iterable[Answer], enough: float) -> float:
    """The first error that is enough, or the largest."""
    worst = 0.0
    for one, other in zip(actual, expected, strict=False):
        if other is not None:
            worst = max(worst, _error(one, other))
        if worst > enough:
            break
    return worst


def _answers(path: Path, probes: Sequence[Inputs]) -> Iterator[Answer]:
    """Each node as it stands; None where it does not answer."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception:
        yield from [None] * len(probes)
        return
    known = {value.name for value in session.get_inputs()}
    for inputs in probes:
        try:
            yield session.run(None, {name: value for name, value in inputs.items() if name in known})
        except Exception:
            yield None


def _exact(path: Path, probes: Sequence[Inputs]) -> Iterator[Answer]:
    evaluator = ReferenceEvaluator(widened(onnx.load(path)))
    for inputs in probes:
        wide = {name: value.astype(np.float64) if value.dtype == np.float32 else value for name, value in inputs.items()}
        with np.errstate(all="ignore"):
            yield [np.asarray(value) for value in evaluator.run(None, {name: wide[name] for name in evaluator.input_names})]


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph in float64: every float32 constant, cast and declared type, in subgraphs too."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    _widen_graph(wide.graph)
    return wide


def _widen_graph(graph: onnx.GraphProto) -> None:
    del graph.value_info[:]
    for tensor in graph.initializer:
        _widen(tensor)
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _widen_graph(attribute.g)
            if attribute.HasField("t"):
                _widen(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE


def _widen(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))


def _probes(model: ModelSpec) -> Iterator[Inputs]:
    example = example_sizes(model.dims, model.inputs)
    for number, wanted in enumerate(SIZES if model.dims else SIZES[:1]):
        asked = dict(zip(model.dims, wanted, strict=False))
        sizes = {
            name: min(max(asked.get(name, size), model.dims[name].min), model.dims[name].max or 64)
            for name, size in example.items()
        }
        for turn, scale in enumerate(SCALES):
            drawn = draw(model.inputs, sizes, SEED + 10 * number + turn, "float32")
            yield {name: _scaled(array(value), scale) for name, value in drawn.items()}
    for case in model.cases:
        for turn in range(len(SCALES)):
            yield {name: array(value) for name, value in draw(case.inputs, example, SEED + 100 + turn, "float32").items()}
    for change in (_poisoned, _thinned):
        drawn = draw(model.inputs, example, SEED + 200, "float32")
        yield {name: change(array(value)) for name, value in drawn.items()}


def _scaled(values: np.ndarray, scale: float) -> np.ndarray:
    return values * np.float32(scale) if values.dtype == np.float32 else values


def _thinned(values: np.ndarray) -> np.ndarray:
    """One floating element in ten is left."""
    if values.dtype == np.float32:
        values.reshape(-1)[np.arange(values.size) % 10 > 0] = 0
    return values


def _poisoned(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.float32:
        values.reshape(-1)[:: max(values.size // 3, 1)] = np.nan
    return values


def _error(actual: Answer, expected: Sequence[np.ndarray]) -> float:
    if actual is None or len(actual) != len(expected):
        return float("inf")
    return max(_difference(one, other) for one, other in zip(actual, expected, strict=True))


def _difference(actual: np.ndarray, expected: np.ndarray) -> float:
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return float("inf")
    if not np.issubdtype(expected.dtype, np.floating):
        return float("inf") if (actual != expected).any() else 0.0
    finite = np.isfinite(expected)
    if not np.array_equal(actual[~finite], expected[~finite], equal_nan=True) or not np.isfinite(actual[finite]).all():
        return float("inf")
    if not finite.any():
        return 0.0
    wide = expected[finite].astype(np.float64)
    rms = float(np.sqrt(np.mean(np.square(wide))))
    return float(np.abs(actual[finite] - wide).max()) / max(rms, float(ml_dtypes.finfo(np.float64).tiny))  # type: ignore[no-untyped-call]
