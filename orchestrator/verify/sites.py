"""Where eager turns a value of its inputs into a Python value: the only way in which its path can depend on what they hold.

Not seen: what goes through numpy or `tolist()`, and decisions by the size of an answer of `nonzero` and the like.
"""

from __future__ import annotations

import dis
import linecache
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.weak import WeakTensorKeyDictionary

from exporters import sources

Value = bool | int | float


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A line that asks a tensor for a Python value."""

    line: str
    """`package/file.py:12`, of the model and not of torch where there is one."""
    function: str
    text: str
    """The line itself; empty where the source is not at hand."""
    decides: bool
    """Whether only its truth matters (`if`, `while`, a comparison); otherwise it is a number that may be used as one."""

    def __str__(self) -> str:
        place = f"{self.line} in {self.function}"
        return f"{place}: `{self.text}`" if self.text else place


class Observer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is active, records what eager does with its inputs; answers are the same bits with and without it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.decided: dict[Site, tuple[Value, ...]] = {}
        """Values in the order in which they were asked for."""
        self.steps: list[str] = []
        """Names of the operators that ran: two runs with other steps took other paths."""
        self._from_inputs = WeakTensorKeyDictionary()

    def watching(self, inputs: Iterable[torch.Tensor]) -> Observer:
        """Itself, to be entered, with the tensors whose values count."""
        for tensor in inputs:
            self._from_inputs[tensor] = True
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operator, and remembers what its answer depends on."""
        answer = func(*args, **(kwargs or {}))
        self.steps.append(str(func))
        if any(self._is_from_inputs(value) for value in tree_iter((args, kwargs))):
            if isinstance(answer, Value):
                self._record(answer, sys._getframe(1))
            # What is written in place is among the arguments.
            written = args[:1] if func._schema.is_mutable else ()
            for value in tree_iter((answer, written)):
                if isinstance(value, torch.Tensor):
                    self._from_inputs[value] = True
        return answer

    def _is_from_inputs(self, value: object) -> bool:
        return isinstance(value, torch.Tensor) and value in self._from_inputs

    def _record(self, value: Value, frame: FrameType) -> None:
        caller = model_frame(frame)
        decides = isinstance(value, bool) or _asks_for_truth(caller)
        text = linecache.getline(caller.f_code.co_filename, caller.f_lineno).strip()
        line = f"{sources.relative(caller.f_code.co_filename)}:{caller.f_lineno}"
        site = Site(line=line, function=caller.f_code.co_name, text=text, decides=decides)
        self.decided[site] = (*self.decided.get(site, ()), bool(value) if decides else value)


def model_frame(frame: FrameType) -> FrameType:
    """The innermost frame that belongs to the model; where all of it is torch's, the innermost of a module of torch.

    Args:
        frame: Of an operator that runs; further out are the model's, then `torch.nn.Module`'s, then those who ask it.
    """
    layer = None
    current: FrameType | None = frame
    while current is not None and not _is_ours(current):
        if sources.line(current.f_code.co_filename, current.f_lineno):
            return current
        if layer is None and sources.relative(current.f_code.co_filename).startswith("torch/nn/"):
            layer = current
        current = current.f_back
    return layer or frame


def _is_ours(frame: FrameType) -> bool:
    """Who asks the model: from there on no frame is the model's."""
    return str(frame.f_globals.get("__name__")).startswith(("orchestrator.verify.", "orchestrator.build.adapter"))


def _asks_for_truth(frame: FrameType) -> bool:
    """Whether the instruction that runs tests for truth, as `if tensor:` does, in contrast to a call of `item()`."""
    name = dis.opname[frame.f_code.co_code[frame.f_lasti]]
    return "JUMP" in name or name == "UNARY_NOT"
