"""What a model or an exporter may do to its process. Only `patch_torch` needs torch. `models` and `units` do it on time."""

# ruff: noqa: T201
from __future__ import annotations

import ctypes
import functools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path


def nothing() -> None:
    pass


def warn() -> None:
    print("a warning", file=sys.stderr)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


def debug() -> None:
    breakpoint()


def segfault() -> None:
    ctypes.string_at(0)


def abort() -> None:
    os.abort()


def exit_zero() -> None:
    os._exit(0)


def exit_seven() -> None:
    os._exit(7)


def sys_exit() -> None:
    sys.exit(3)


def get_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def linger() -> None:
    time.sleep(0.5)


def wait_for_leave() -> None:
    """Go on once the file that LEAVE names is there, and take it away."""
    leave = Path(os.environ["LEAVE"])
    while not leave.exists():
        time.sleep(0.01)
    leave.unlink()


def wait_here_for_leave() -> None:
    """Say on which node of `cluster` that is, and which GPUs there are."""
    print("node", os.environ["NODE"], "gpus", repr(os.environ.get("CUDA_VISIBLE_DEVICES", "")))
    wait_for_leave()


def sleep() -> None:
    while True:
        time.sleep(1)


def sleep_in_native_code() -> None:
    # Like a library that never comes back, this one holds the interpreter's lock and hears no signal handler of Python's.
    library = ctypes.PyDLL(None)
    while True:
        library.sleep(600)


def allocate() -> None:
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1 << 20)) * 16)


def allocate_in_a_child() -> None:
    """Its own resident set stays small."""
    subprocess.run([sys.executable, "-c", "hoard = []\nwhile True: hoard.append(b'1' * (1 << 24))"], check=True)


def flood() -> None:
    while True:
        print("the same line again and again" * 100)


def fill_the_disk() -> None:
    """Write to where temporary files go until there is no room left; a disk of many GB is not for that."""
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(1024):
            file.write(bytes(1 << 20))
    raise RuntimeError("1 GiB did not fill the disk")


def patch_torch() -> None:
    from torch.nn import functional

    real = functional.linear
    functional.linear = functools.partial(real)


def leave_a_thread() -> None:
    threading.Thread(target=sleep, name="left-behind").start()


def leave_a_child() -> None:
    _spawn(session=False)


def leave_a_daemon() -> None:
    """A child of a child that is dead, in a session of its own: no longer below us by parentage, nor in our group."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _spawn(session=True)
        os._exit(0)
    os.waitpid(pid, 0)


def raise_error() -> None:
    raise RuntimeError("on purpose")


def close_everything() -> None:
    os.closerange(3, 1000)
    sleep()


def _spawn(*, session: bool) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=session)
    print("left", child.pid, flush=True)
    # Or the interpreter complains when it is collected.
    child.returncode = 0
