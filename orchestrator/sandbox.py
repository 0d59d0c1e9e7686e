"""Runs a unit in child processes and enforces its limits from outside: deadline, memory of the whole tree, size of the log.

A death costs the cells that the running stage works for; a new child goes on with the others. Nothing is tried twice.
"""

from __future__ import annotations

import os
import select
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import msgspec
import psutil

from orchestrator import child
from orchestrator.attribution import Attribution, Death, refused, waiting, without
from orchestrator.errors import StorageError
from orchestrator.forkserver import ForkedChild
from orchestrator.result import CellFinished, Event, Stage, Status
from orchestrator.spec import UnitTask
from orchestrator.store.disk import refusals

POLL_SECONDS = 0.05
"""Between two looks at the child's own memory and its log: 0.04 % of a CPU."""

WALK_SECONDS = 0.5
"""Between two walks over the process table for what the child started: one takes 1 to 2 ms."""

LAST_WORDS_SECONDS = 0.1
"""For a child that passed its deadline to write down where it hangs."""

READ_BYTES = 1 << 16

LOG = "output.log"
"""What a child and all that it starts print, in its scratch folder."""


class Sandbox:
    """What a supervisor runs units in, one after the other; it never imports torch."""

    def __init__(self, address: str, scratch: Path, function: str) -> None:
        """Remember where things are.

        Args:
            address: Of the fork server; it need not be ready yet.
            scratch: An existing folder, private to the user, for the children's files.
            function: `module:name` of a child.UnitFunction.
        """
        self._address = address
        self._scratch = scratch
        self._function = function

    def run(self, task: UnitTask) -> Generator[Event, None, None]:
        """Do the unit; closing the generator early kills the child and all that it started.

        Yields:
            The unit's events, and a CellFinished with status crashed, timeout, oom or infra_error for each cell that a death
            took. Every CellFinished has the cell's output attached as export.log.

        Raises:
            ForkServerError: the server died.
        """
        while cells := waiting(task):
            try:
                decided = yield from self._attempt(task)
            except StorageError as error:
                for cell in cells:
                    yield CellFinished(result=refused(cell, Stage.BUILD, error))
                return
            task = without(task, decided)

    def _attempt(self, task: UnitTask) -> Generator[Event, None, list[str]]:
        """One child."""
        with ExitStack() as stack:
            with refusals(self._scratch):
                # What a model made unremovable stays until the scratch folder goes.
                scratch = tempfile.TemporaryDirectory(dir=self._scratch, ignore_cleanup_errors=True)
                folder = Path(stack.enter_context(scratch))
                messages = stack.enter_context(closing(_Messages()))
                forked = stack.enter_context(self._fork(task, folder, messages))
            attempt = _Attempt(task, folder / LOG, forked, messages)
            yield from attempt.events()
            return attempt.attribution.decided

    def _fork(self, task: UnitTask, folder: Path, messages: _Messages) -> ForkedChild:
        work, temporary, document = folder / "work", folder / "tmp", folder / "request.json"
        work.mkdir()
        temporary.mkdir()
        request = child.Request(function=self._function, task=task, folder=str(work), temporary=str(temporary))
        document.write_bytes(msgspec.json.encode(request))
        with document.open("rb") as asked, (folder / LOG).open("ab") as log, messages.sender as sender:
            return ForkedChild(self._address, asked.fileno(), sender.fileno(), log.fileno())


class _Attempt:
    """One child and what is known of it."""

    def __init__(self, task: UnitTask, log: Path, forked: ForkedChild, messages: _Messages) -> None:
        self.attribution = Attribution(task, log)
        self._log = log
        self._limits = task.unit.limits
        self._child = forked
        self._messages = messages
        self._family = _Family(forked.pid)
        self._deadline = time.monotonic() + self._limits.seconds

    def events(self) -> Iterator[Event]:
        """What happens, until the child's end."""
        while True:
            watched = [self._child.fileno()] + ([self._messages.fileno()] if self._messages.open else [])
            ready, _, _ = select.select(watched, [], [], POLL_SECONDS)
            # Looked at before the messages are read: so they are all that came before a death, or before what is measured.
            dead = self._child.fileno() in ready
            now, held, log_bytes = time.monotonic(), self._family.memory(), self._log.stat().st_size
            self.attribution.see_memory(held)
            for message in self._messages.read():
                if isinstance(message, child.Ended):
                    yield from self.attribution.ended(_strays(self._family, message))
                    return
                self._deadline = time.monotonic() + self._limits.seconds
                yield from self.attribution.see(message.event, message.log_bytes)
            death = _death(self._child.wait()) if dead else self._violation(now, held, log_bytes)
            if death is not None:
                self._end(death)
                yield from self.attribution.died(death, self._log.stat().st_size)
                return

    def _violation(self, now: float, held: int, log_bytes: int) -> Death | None:
        """The limit that the child has passed."""
        limits = self._limits
        if now > self._deadline:
            message = f"passed its deadline of {limits.seconds:g} s"
            return Death(status=Status.TIMEOUT, kind="deadline", message=message)
        if held > limits.memory:
            message = f"its processes held {_mebibytes(held)}, the limit is {_mebibytes(limits.memory)}"
            return Death(status=Status.OOM, kind="memory", message=message)
        printed = self.attribution.cell_log_bytes(log_bytes)
        if printed > limits.log:
            message = f"printed {_mebibytes(printed)}, the limit is {_mebibytes(limits.log)}"
            return Death(status=Status.CRASHED, kind="log_limit", message=message)
        return None

    def _end(self, death: Death) -> None:
        """Make sure that the child's tree is gone; nothing is printed after that."""
        if death.status is Status.TIMEOUT:
            self._have_stacks_written()
        self._child.kill()
        self._child.wait()

    def _have_stacks_written(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._child.pid, child.DUMP_STACKS)
        time.sleep(LAST_WORDS_SECONDS)


class _Messages:
    """The pipe from a child."""

    def __init__(self) -> None:
        receiver, sender = os.pipe()
        os.set_blocking(receiver, False)
        self.sender = os.fdopen(sender, "wb", buffering=0)
        """For the child; to be closed here once the child has it."""
        self._receiver = os.fdopen(receiver, "rb", buffering=0)
        self._rest = b""
        self.open = True
        """False once nobody can write to it any more; the child may live all the same."""

    def fileno(self) -> int:
        return self._receiver.fileno()

    def close(self) -> None:
        self._receiver.close()
        self.sender.close()

    def read(self) -> Iterator[child.Message]:
        """All messages that have come."""
        while chunk := self._receiver.read(READ_BYTES):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                yield msgspec.json.decode(line, type=child.Message)
        self.open = self.open and chunk is None


class _Family:
    """A child and its descendants, and what memory they hold.

    The child's resident set counts in full, with the pages of the preloaded stack that it shares with the fork server (about
    0.5 GB): so much it would hold if it had imported the stack itself. Its descendants share most of theirs with it; they count
    with their proportional share (PSS).
    """

    def __init__(self, pid: int) -> None:
        self._shares = 0
        self._walked = 0.0
        self._child: psutil.Process | None = None
        # One that ends at once may be buried by now.
        with suppress(psutil.NoSuchProcess):
            self._child = psutil.Process(pid)

    def memory(self) -> int:
        """Bytes; the descendants' share is up to WALK_SECONDS old."""
        if self._child is None:
            return 0
        now = time.monotonic()
        if now - self._walked > WALK_SECONDS:
            self._shares = sum(map(_proportional, self.descendants()))
            self._walked = now
        try:
            return int(self._child.memory_info().rss) + self._shares
        except psutil.NoSuchProcess:
            return 0

    def descendants(self) -> list[psutil.Process]:
        """All that the child started, as far as it is there."""
        try:
            return self._child.children(recursive=True) if self._child else []
        except psutil.NoSuchProcess:
            return []


def _proportional(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def _strays(family: _Family, message: child.Ended) -> list[str]:
    """What a unit that has ended left running, in words."""
    strays = Counter(f"the thread {name!r}" for name in message.threads)
    for process in family.descendants():
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                strays[f"the process {process.name()!r}"] += 1
    return [stray if count == 1 else f"{stray} ({count} times)" for stray, count in strays.items()]


def _death(status: int) -> Death:
    """What a wait status says of a child that ended before its unit did."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        message = f"the process ended itself with exit code {code}"
        return Death(status=Status.CRASHED, kind="exit_code", message=message)
    message = f"the process was killed by {signal.Signals(-code).name}"
    if -code == signal.SIGKILL:
        message += ", not by us: perhaps the kernel, out of memory"
    return Death(status=Status.CRASHED, kind="signal", message=message)


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
