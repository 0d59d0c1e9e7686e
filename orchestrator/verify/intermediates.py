"""All that eager and an artifact compute on the way to their answers on one set of inputs, as far as memory allows."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch.utils._pytree import tree_iter

from exporters import sources
from orchestrator.verify.reference import Runner, array
from orchestrator.verify.search import Inputs
from orchestrator.verify.session import run_unoptimised
from orchestrator.verify.sites import Observer, model_frame

LIMIT = 512 * 2**20
"""Bytes of values that are kept of either side."""


class TooLargeError(Exception):
    """The values take more memory than is allowed; one line."""


@dataclass(frozen=True, kw_only=True)
class Computed:
    """A value that eager computed."""

    line: str
    """`package/file.py:12 in forward`."""
    values: np.ndarray
    in_place: bool
    """Whether the operator wrote it over another value."""


def of_eager(module: torch.nn.Module, inputs: Inputs) -> list[Computed]:
    """Every tensor that an operator of eager answers with, in order.

    Raises:
        TooLargeError: They take more than `LIMIT`.
    """
    recorder = _Recorder()
    Runner(module)(inputs, recorder)
    return recorder.computed


def of_artifact(proto: onnx.ModelProto, folder: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor that a node of the main graph answers with, by name, in ONNX Runtime without optimisations.

    Args:
        proto: The artifact, external data not loaded; it is not changed.
        folder: That the external data is in.
        inputs: By name.

    Raises:
        ArtifactError: It does not load or does not run.
    """
    exposed = onnx.ModelProto()
    exposed.CopyFrom(proto)
    declared = {value.name for value in exposed.graph.output}
    names = [name for node in exposed.graph.node for name in node.output if name and name not in declared]
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    answers = run_unoptimised(exposed.SerializeToString(), folder, inputs)
    return {name: values for name, values in answers.items() if isinstance(values, np.ndarray)}


class _Recorder(Observer):  # type: ignore[no-untyped-call]
    """Keeps what operators answer, as it is then: what is written in place later has another value."""

    def __init__(self) -> None:
        super().__init__()
        self.computed: list[Computed] = []
        self._bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        tensors = [value for value in tree_iter(answer) if isinstance(value, torch.Tensor)]
        if tensors:
            frame = model_frame(sys._getframe(1))
            line = f"{sources.relative(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_name}"
            for tensor in tensors:
                self._keep(Computed(line=line, values=array(tensor), in_place=func._schema.is_mutable))
        return answer

    def _keep(self, computed: Computed) -> None:
        self._bytes += computed.values.nbytes
        if self._bytes > LIMIT:
            raise TooLargeError(f"eager's intermediate values take more than {LIMIT // 2**20} MiB")
        self.computed.append(computed)
