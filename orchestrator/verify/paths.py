"""Where eager's way through the model's source parts on two sets of inputs: the line of the branch or the loop itself."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from exporters import sources

LONGEST = 2_000_000
"""Instructions of the model's own code that are remembered."""

Way = list[tuple[CodeType, int]]
"""Each instruction that ran, by its place in the code."""


def parting(one: Callable[[], object], other: Callable[[], object]) -> str | None:
    """The line after which the second run goes on otherwise than the first.

    Args:
        one: Runs the model on the first inputs.
        other: Runs it on others.

    Returns:
        The line with its place, as in ``package/file.py:12 in forward: `if x.shape[0] > 3:` ``; None if both go the same way.
    """
    here, there = _way(one), _way(other)
    common = next((place for place, pair in enumerate(zip(here, there, strict=False)) if pair[0] != pair[1]), None)
    if common is None:
        common = min(len(here), len(there)) if len(here) != len(there) else 0
    return _line(*here[common - 1]) if common else None


def _way(run: Callable[[], object]) -> Way:
    way: Way = []
    with _traced(way):
        run()
    return way


@contextmanager
def _traced(way: Way) -> Iterator[None]:
    """Python's own tracing, for the model's functions only."""

    def on_call(frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ARG001
        if not _is_models(frame.f_code):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return on_instruction

    def on_instruction(frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ARG001
        if event == "opcode" and len(way) < LONGEST:
            way.append((frame.f_code, frame.f_lasti))
        return on_instruction

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        yield
    finally:
        sys.settrace(before)


def _is_models(code: CodeType) -> bool:
    ours = ("orchestrator/verify/", "orchestrator/build/")
    return sources.line(code.co_filename, 1) is not None and not sources.relative(code.co_filename).startswith(ours)


def _line(code: CodeType, offset: int) -> str:
    lines: Sequence[int] = [line for start, end, line in code.co_lines() if line and start <= offset < end]
    number = lines[0] if lines else code.co_firstlineno
    text = linecache.getline(code.co_filename, number).strip()
    return f"{sources.relative(code.co_filename)}:{number} in {code.co_name}: `{text}`"
