"""What the child process of a unit does: run the unit's function and stream its events to the supervisor.

Limits are not kept here: whatever this process does to itself, the supervisor sees it from outside (`sandbox`).
"""

from __future__ import annotations

import faulthandler
import importlib
import io
import os
import resource
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, cast

import msgspec

from orchestrator.result import CellFinished, Event, StageStarted
from orchestrator.spec import UnitTask

UnitFunction = Callable[[UnitTask, Path], Iterator[Event]]
"""What `orchestrator.unit.run` is an example of."""

DUMP_STACKS = signal.SIGUSR1
"""Makes the child write the stacks of its threads to its log, also while it hangs in native code."""


LIBRARIES = {
    # Otherwise onnxruntime's import starts a thread, writes a device id into the home folder and looks up hosts.
    "ORT_DISABLE_TELEMETRY": "1",
    # Threads that spin while they wait for each other cost up to five times the work when something else wants the cores.
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""Environment of every process that does a unit, set before torch and onnxruntime are imported."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor asks of a child, as one JSON document."""

    function: str
    """`module:name` of a UnitFunction."""
    task: UnitTask
    folder: str
    """Absolute path of the unit's scratch folder, empty."""
    temporary: str
    """Absolute path of the folder for temporary files, empty."""


class Happened(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An event of the unit."""

    event: StageStarted | CellFinished
    log_bytes: int
    """How long the log was just then."""


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The unit is done; the child waits to be killed, so that what it started can be counted while it is there."""

    threads: tuple[str, ...]
    """Names of the Python threads that the unit left running."""


Message = Happened | Ended
"""One line of JSON on the pipe to the supervisor."""


def resolve(reference: str) -> UnitFunction:
    """Import the function that `module:name` refers to."""
    module, _, name = reference.partition(":")
    return cast(UnitFunction, getattr(importlib.import_module(module), name))


def main(request: int, events: int, log: int) -> NoReturn:
    """Run a unit in this freshly forked process.

    Args:
        request: Descriptor of a file that holds a Request.
        events: Descriptor of the pipe for the messages.
        log: Descriptor of the file that takes stdout and stderr, opened to append.
    """
    code = 1
    try:
        _redirect(log)
        with open(request, "rb") as file:
            wanted = msgspec.json.decode(file.read(), type=Request)
        _prepare(wanted)
        stream(wanted, events, log)
        while True:
            signal.pause()
    except SystemExit as error:
        code = exit_code(error)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def stream(request: Request, events: int, log: int) -> None:
    """Run the unit's function and send its events and the end."""
    for event in resolve(request.function)(request.task, Path(request.folder)):
        sys.stdout.flush()
        _send(events, Happened(event=event, log_bytes=os.fstat(log).st_size))
    threads = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    _send(events, Ended(threads=tuple(thread.name for thread in threads)))


def exit_code(error: SystemExit) -> int:
    """The code with which the interpreter would end; a text is printed to stderr, as the interpreter does."""
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    sys.stderr.write(f"{error.code}\n")
    return 1


def _redirect(log: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # Inherited as a file's stream, it would keep lines back that a crash then loses.
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True)
    faulthandler.enable(file=2, all_threads=True)
    faulthandler.register(DUMP_STACKS, file=2, all_threads=True)


def _prepare(request: Request) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["OMP_NUM_THREADS"] = str(request.task.threads)
    os.environ["TMPDIR"] = tempfile.tempdir = request.temporary


def _send(events: int, message: Message) -> None:
    rest = memoryview(msgspec.json.encode(message) + b"\n")
    while rest:
        rest = rest[os.write(events, rest) :]
