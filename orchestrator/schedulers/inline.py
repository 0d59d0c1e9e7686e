"""Runs units in this process, one after the other, for a debugger: same results as with isolation, no limits.

What native code prints is not caught here, only what Python prints.
"""

from __future__ import annotations

import os
import pdb
import signal
import sys
import tempfile
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO, cast

from orchestrator.attribution import Attribution, Death, waiting, without
from orchestrator.child import LIBRARIES, UnitFunction, exit_code, resolve
from orchestrator.result import Event, Status
from orchestrator.schedulers.base import UNIT, Program
from orchestrator.spec import ClusterSpec, UnitTask


def run(tasks: Sequence[UnitTask], cluster: ClusterSpec, program: Program = UNIT) -> Generator[Event, None, None]:  # noqa: ARG001
    """Do the units in this process; see base.Scheduler.

    `breakpoint()` in a model talks to the terminal. SIGTERM is KeyboardInterrupt like Ctrl-C, and both go through.
    """
    os.environ.update(LIBRARIES)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="export-", ignore_cleanup_errors=True)))
        output = stack.enter_context(_diverted())
        stack.enter_context(_sigterm_like_ctrl_c())
        function = resolve(program.function)
        for number, task in enumerate(tasks):
            yield from _run_unit(function, task, scratch / str(number), output)


class _Output:
    """Stands for sys.stdout or sys.stderr: goes to a unit's log while the unit works, to the terminal in between.

    One object for the whole run, because log handlers keep the stream that they saw first.
    """

    def __init__(self, terminal: TextIO) -> None:
        self.terminal = self.target = terminal

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


def _run_unit(function: UnitFunction, task: UnitTask, scratch: Path, output: list[_Output]) -> Iterator[Event]:
    while waiting(task):
        folder = scratch / str(len(task.done))
        folder.mkdir(parents=True)
        with folder.with_suffix(".log").open("w", buffering=1, encoding="utf-8", errors="backslashreplace") as log:
            attribution = Attribution(task, Path(log.name))
            yield from _attempt(function(task, folder), attribution, log, output)
        task = without(task, attribution.decided)


def _attempt(events: Iterator[Event], attribution: Attribution, log: TextIO, output: list[_Output]) -> Iterator[Event]:
    while True:
        event: Event | Death | None
        with _into(log, output):
            try:
                event = next(events, None)
            except (Exception, SystemExit) as error:
                event = _death(error)
        if event is None:
            yield from attribution.ended(strays=())
            return
        if isinstance(event, Death):
            yield from attribution.died(event, log.tell())
            return
        yield from attribution.see(event, log.tell())


def _death(error: Exception | SystemExit) -> Death:
    """What the sandbox would have seen of an exception that the unit let out."""
    if isinstance(error, SystemExit):
        code = exit_code(error)
    else:
        traceback.print_exc()
        code = 1
    return Death(status=Status.CRASHED, kind="exit_code", message=f"the process ended itself with exit code {code}")


@contextmanager
def _into(log: TextIO, output: list[_Output]) -> Iterator[None]:
    for stream in output:
        stream.target = log
    try:
        yield
    finally:
        for stream in output:
            stream.target = stream.terminal


@contextmanager
def _diverted() -> Iterator[list[_Output]]:
    """Put streams that can be diverted in the place of stdout and stderr."""
    before = sys.stdout, sys.stderr, sys.breakpointhook
    output = [_Output(sys.stdout), _Output(sys.stderr)]
    sys.stdout, sys.stderr = cast(list[TextIO], output)
    sys.breakpointhook = _debug
    try:
        yield output
    finally:
        sys.stdout, sys.stderr, sys.breakpointhook = before


def _debug(*_: object, **__: object) -> None:
    """What `breakpoint()` calls: the debugger on the terminal, although stdout goes to a log."""
    frame = sys._getframe().f_back
    pdb.Pdb(stdin=sys.__stdin__, stdout=sys.__stdout__).set_trace(frame)


@contextmanager
def _sigterm_like_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
