"""What the usual means say of an artifact: the same damage, judged as people judge it today."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
import torch
from torch.onnx.verification import VerificationInfo

from orchestrator.verify.base import Candidate

TORCH_ABSOLUTE, TORCH_RELATIVE = 5e-3, 1e-1
"""From which difference on torch.onnx.export(verify=True) warns (torch 2.15, _internal/exporter/_core.py)."""
RTOL = ATOL = 1e-3
"""Of the comparison that most scripts end with."""


class ComplaintError(Exception):
    """A tool says no."""


def opinions(candidate: Candidate) -> dict[str, bool]:
    """Name of each tool → whether it objects to the artifact; a tool that is not installed is left out."""
    return {name: _objects(tool, candidate) for name, tool in TOOLS.items()}


def _objects(tool: Callable[[Candidate], None], candidate: Candidate) -> bool:
    try:
        tool(candidate)
    except Exception:
        return True
    return False


def _checker(candidate: Candidate) -> None:
    onnx.checker.check_model(candidate.path, full_check=True)


def _session(candidate: Candidate) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(candidate.path, options, providers=["CPUExecutionProvider"])


def _loads(candidate: Candidate) -> None:
    _session(candidate)


def _answers(candidate: Candidate) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """Eager's and the artifact's on the example, which is given by position as torch does."""
    session = _session(candidate)
    names = [value.name for value in session.get_inputs()]
    example = candidate.reference.example
    return example.outputs, session.run(None, dict(zip(names, example.inputs.values(), strict=True)))


def _allclose(candidate: Candidate) -> None:
    expected, actual = _answers(candidate)
    for one, other in zip(expected, actual, strict=True):
        np.testing.assert_allclose(other, one, rtol=RTOL, atol=ATOL)


def _torch_verify(candidate: Candidate) -> None:
    """Compares in memory what lies on disk here, so that it is given more than it has; outputs are zipped, as it does."""
    for one, other in zip(*_answers(candidate), strict=False):
        found = VerificationInfo.from_tensors("output", torch.from_numpy(one), torch.from_numpy(other))
        if found.max_abs_diff >= TORCH_ABSOLUTE or found.max_rel_diff >= TORCH_RELATIVE:
            raise ComplaintError


def _polygraphy(candidate: Candidate) -> None:
    """Its default comparison of two runners, of which one is eager."""
    comparator = importlib.import_module("polygraphy.comparator")
    logger = importlib.import_module("polygraphy.logger").G_LOGGER
    logger.module_severity = logger.CRITICAL
    graph = onnx.load(candidate.path, load_external_data=False).graph
    names = [value.name for value in graph.output]
    expected, actual = _answers(candidate)
    results = comparator.RunResults()
    for runner, values in (("eager", expected), ("onnxrt", actual)):
        pairs = dict(
            zip([output.name for output in candidate.model.outputs] if runner == "eager" else names, values, strict=True)
        )
        results.append((runner, [comparator.IterationResult(pairs, runner_name=runner)]))
    if not bool(comparator.Comparator.compare_accuracy(results)):
        raise ComplaintError


TOOLS: Mapping[str, Callable[[Candidate], None]] = {
    "onnx.checker, full_check": _checker,
    "ONNX Runtime loads it": _loads,
    "allclose 1e-3, one input": _allclose,
    "torch verify=True": _torch_verify,
} | ({"Polygraphy": _polygraphy} if importlib.util.find_spec("polygraphy") else {})
