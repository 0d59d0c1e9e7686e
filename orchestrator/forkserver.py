"""A process with the torch stack preloaded that forks one child per unit and buries each with everything that it started.

Not multiprocessing's forkserver: this one can be started before and beside Ray and be shared by the supervisors of a node,
gets requests as JSON instead of pickles, and ends a child's whole tree when the supervisor hangs up or dies. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil

from orchestrator import child

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
"""linux/prctl.h"""

BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from orchestrator.forkserver import serve; serve(sys.argv[2:])"
"""A program without `__main__` file, which a child's own multiprocessing would import again."""

NUMBER = struct.Struct("!i")
"""What the server answers on a connection: the child's process id, and at its end its wait status."""

PRINTED_CHARACTERS = 2000
"""Of the server's output, in an error's message: the end, where the exception is."""

GRACE_SECONDS = 5.0
"""For the server to bury its children before it is killed itself."""


class ForkServerError(Exception):
    """The server cannot be reached or ended; the message holds what it printed."""


class ForkServer:
    """The server's process, owned by the one who started it; close it, or use it as a context manager."""

    def __init__(self, folder: Path, preload: Sequence[str], threads: int) -> None:
        """Start the server and return at once; who connects waits until the preload is done.

        Args:
            folder: Private to the user; takes the socket and the server's output. Its path must be short: a socket's
                address has at most 107 bytes.
            preload: Modules to import before the first fork.
            threads: OMP_NUM_THREADS of the libraries that are preloaded.
        """
        self.address = str(folder / "forkserver.sock")
        with socket.socket(socket.AF_UNIX) as listener, _log_path(self.address).open("wb") as log:
            listener.bind(self.address)
            listener.listen()
            arguments = [json.dumps(sys.path), str(listener.fileno()), str(os.getpid()), *preload]
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOT, *arguments],
                pass_fds=(listener.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal goes to the owner, who decides.
                start_new_session=True,
                # torch makes a folder for compiled kernels when it is imported.
                env=environment(threads) | {"TMPDIR": str(folder)},
            )

    @property
    def loaded(self) -> bool:
        """Whether it ever was ready to fork: one that ends before cannot load what every unit needs."""
        return _ready_path(self.address).exists()

    @property
    def killed(self) -> bool:
        """Whether it ended by SIGKILL, which says nothing of what it loads."""
        return self._process.poll() == -signal.SIGKILL

    @property
    def last_words(self) -> str:
        """The last line that it printed: of an exception that ended it, its type and message; or that it was killed."""
        return (
            "it was killed, perhaps by the kernel, out of memory" if self.killed else _printed(self.address).rpartition("\n")[2]
        )

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the server and all children."""
        self._process.terminate()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ForkedChild:
    """One child of a server, as its supervisor sees it; closing it ends the child and all that it started."""

    def __init__(self, address: str, request: int, events: int, log: int) -> None:
        """Have a child forked that runs `child.main` with these descriptors; waits for the server's preload.

        Raises:
            ForkServerError: there is no server at the address any more.
        """
        self._address = address
        self._status: int | None = None
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.connect(address)
            socket.send_fds(self._connection, [b"fork"], [request, events, log])
            self.pid = self._receive()
        except OSError as error:
            self._connection.close()
            raise self._server_died() from error
        except ForkServerError:
            self._connection.close()
            raise

    def fileno(self) -> int:
        """Becomes readable when the child has ended, for select."""
        return self._connection.fileno()

    def kill(self) -> None:
        """Ask for the end of the child's tree; `wait` returns when it is gone."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def wait(self) -> int:
        """Wait for the end of the child's tree.

        Returns:
            The wait status, see os.waitstatus_to_exitcode.

        Raises:
            ForkServerError: the server died, and the child with it.
        """
        if self._status is None:
            try:
                self._status = self._receive()
            except ForkServerError:
                # The server can no longer bury what the child started; it is in the child's process group.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                raise
        return self._status

    def close(self) -> None:
        """End the child's tree if it is there, and return when it is gone."""
        with self._connection:
            self.kill()
            with contextlib.suppress(ForkServerError):
                self.wait()

    def __enter__(self) -> ForkedChild:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self) -> int:
        data = self._connection.recv(NUMBER.size, socket.MSG_WAITALL)
        if len(data) < NUMBER.size:
            raise self._server_died()
        (number,) = NUMBER.unpack(data)
        return int(number)

    def _server_died(self) -> ForkServerError:
        return ForkServerError(f"The process that preloads the libraries died. {_printed(self._address)}".rstrip())


def environment(threads: int) -> dict[str, str]:
    """The environment of the server and all children: ours without what concerns only Ray or a debugger.

    Args:
        threads: OMP_NUM_THREADS, which torch and ONNX Runtime read when they are imported.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_") and key != "PYTHONBREAKPOINT"}
    return (
        kept
        | child.LIBRARIES
        | {
            "OMP_NUM_THREADS": str(threads),
            # numpy's OpenBLAS would start its threads at import, and a process with threads must not fork.
            "OPENBLAS_NUM_THREADS": "1",
        }
    )


def serve(arguments: Sequence[str]) -> NoReturn:
    """The server's program: preload, then fork on request until SIGTERM or the owner's death.

    Args:
        arguments: Descriptor of the listening socket, process id of the owner, modules to preload.
    """
    listener, owner, *preload = arguments
    _call_prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(owner):
        sys.exit("the owner died")
    # What a unit's child leaves behind becomes ours when the child is dead, however often it forked.
    _call_prctl(PR_SET_CHILD_SUBREAPER, 1)
    for name in preload:
        importlib.import_module(name)
    assert psutil.Process().num_threads() == 1, "a process with several threads must not fork"
    # Objects that the collector never touches stay on pages that all children share.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(listener)) as opened:
        _ready_path(opened.getsockname()).touch()
        _Server(opened).run()


@dataclass(kw_only=True)
class _Child:
    """A child as the server knows it."""

    pid: int
    connection: socket.socket
    pidfd: int


class _Server:
    """The loop of the server: every descriptor in the selector carries the function that handles it."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._watch(listener, self._accept)

    def run(self) -> NoReturn:
        signal.signal(signal.SIGTERM, _exit)
        try:
            while True:
                # One at a time: handling it may close what the next one is about.
                for key, _ in self._selector.select()[:1]:
                    key.data()
        finally:
            for pid in self._children:
                _kill_group(pid)
            self._children.clear()
            self._kill_strays()

    def _watch(self, file: socket.socket | int, handler: Callable[[], None]) -> None:
        self._selector.register(file, selectors.EVENT_READ, handler)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        self._watch(connection, lambda: self._fork(connection))

    def _fork(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        message, descriptors, _, _ = socket.recv_fds(connection, len(b"fork"), 3)
        if not message:
            connection.close()
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        server, pid = os.getpid(), os.fork()
        if pid == 0:
            try:
                self._become_child(server, connection, descriptors)
            finally:
                # Whatever happens there, this loop is not the child's.
                os._exit(1)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        born = _Child(pid=pid, connection=connection, pidfd=os.pidfd_open(pid))
        self._children[pid] = born
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        for descriptor in descriptors:
            os.close(descriptor)
        self._watch(born.pidfd, lambda: self._bury(born))
        self._watch(connection, lambda: self._hang_up(born))
        _answer(connection, pid)

    def _become_child(self, server: int, connection: socket.socket, descriptors: Sequence[int]) -> NoReturn:
        """In the child: let go of what belongs to the server, and tie the own life to the server's."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        _call_prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _call_prctl(PR_SET_CHILD_SUBREAPER, 1)
        if os.getppid() != server:
            os._exit(1)
        os.setpgid(0, 0)
        self._selector.close()
        for file in (self._listener, connection, *(other.connection for other in self._children.values())):
            file.close()
        for other in self._children.values():
            os.close(other.pidfd)
        # If the machine runs out of memory, the kernel takes the unit and not its supervisor.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
        child.main(*descriptors)

    def _hang_up(self, child_: _Child) -> None:
        """The supervisor wants the end, or died."""
        self._selector.unregister(child_.connection)
        _kill_group(child_.pid)

    def _bury(self, child_: _Child) -> None:
        self._selector.unregister(child_.pidfd)
        os.close(child_.pidfd)
        if child_.connection in self._selector.get_map():
            self._selector.unregister(child_.connection)
        # Before it is reaped, so that the group's number cannot belong to anybody else.
        _kill_group(child_.pid)
        _, status = os.waitpid(child_.pid, 0)
        del self._children[child_.pid]
        self._kill_strays()
        _answer(child_.connection, status)
        child_.connection.close()

    def _kill_strays(self) -> None:
        """Kill what dead units left, layer by layer: the children of a killed process become ours."""
        while strays := [process.pid for process in psutil.Process().children() if process.pid not in self._children]:
            for pid in strays:
                _kill_group(pid)
                os.waitpid(pid, 0)


def _kill_group(leader: int) -> None:
    """Kill a process that is not reaped yet, and its group if it leads one."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(leader, signal.SIGKILL)


def _answer(connection: socket.socket, number: int) -> None:
    # A supervisor that died needs no answer.
    with contextlib.suppress(OSError):
        connection.sendall(NUMBER.pack(number))


def _exit(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def _call_prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _log_path(address: str) -> Path:
    return Path(address).with_suffix(".log")


def _ready_path(address: str) -> Path:
    return Path(address).with_suffix(".ready")


def _printed(address: str) -> str:
    try:
        return _log_path(address).read_text(errors="replace")[-PRINTED_CHARACTERS:].strip()
    except OSError:
        return ""
