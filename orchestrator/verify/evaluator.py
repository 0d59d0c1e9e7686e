"""Runs an artifact in the ONNX reference evaluator: a second runtime, in numpy, that knows every dtype of the standard.

It is slow, reads all weights into memory, and says nothing about the speed or the providers of ONNX Runtime.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.ops.op_max_pool import MaxPool

from orchestrator.verify.base import REFERENCE_EVALUATOR, ArtifactError


class Evaluator:
    """An artifact in the reference evaluator, loaded at the first use; answers like `session.Session`."""

    def __init__(self, path: Path, *, keeps_nan: bool = False) -> None:
        """Remember what to load.

        Args:
            path: Of the graph.
            keeps_nan: MaxPool takes NaN for the largest, as PyTorch does; ONNX does not say, and its evaluator drops it.
        """
        self._path, self._operators = path, [_MaxPool] if keeps_nan else []

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run the artifact.

        Args:
            inputs: By name; those that the artifact does not have are left out, which the interface check reports.

        Returns:
            The outputs in the artifact's order.

        Raises:
            ArtifactError: It does not load, or does not run on these inputs.
        """
        loaded = self._loaded()
        try:
            # Overflow to infinity is an answer, which parity compares.
            with np.errstate(all="ignore"):
                answer = loaded.run(None, {name: inputs[name] for name in loaded.input_names if name in inputs})
        except Exception as error:
            raise ArtifactError(f"the ONNX reference evaluator fails on it: {_line(error)}") from error
        return [np.asarray(value) for value in answer]

    def providers(self) -> frozenset[str]:
        """The reference evaluator: it has no others to hand nodes to.

        Raises:
            ArtifactError: It does not load.
        """
        self._loaded()
        return frozenset({REFERENCE_EVALUATOR})

    def _loaded(self) -> ReferenceEvaluator:
        if isinstance(self._opened, str):
            raise ArtifactError(self._opened)
        return self._opened

    @functools.cached_property
    def _opened(self) -> ReferenceEvaluator | str:
        """The evaluator, or why there is none: an artifact that does not load is tried once."""
        try:
            # Weights are looked for beside the graph file; the evaluator itself would look in the working folder.
            return ReferenceEvaluator(onnx.load(self._path, format="protobuf"), new_ops=self._operators)
        except Exception as error:
            return f"the ONNX reference evaluator {onnx.__version__} does not load it: {_line(error)}"


class _MaxPool(MaxPool):  # type: ignore[misc]
    """That keeps NaN: the same pooling of where they are says where they stay."""

    op_domain = ""

    def _run(self, x: np.ndarray, **attributes: Any) -> tuple[np.ndarray, ...]:
        missing = np.isnan(x)
        largest, *rest = super()._run(np.where(missing, -np.inf, x).astype(x.dtype), **attributes)
        stays = super()._run(missing.astype(x.dtype), **attributes)[0] > 0
        return (np.where(stays, np.nan, largest).astype(x.dtype), *rest)


_MaxPool.__name__ = "MaxPool"


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
