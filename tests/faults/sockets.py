"""The listening sockets of all processes of a local run, by /proc/net/tcp and tcp6: all on loopback."""

from __future__ import annotations

import ipaddress
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from tests.faults.real_run import RealRun
from tests.faults.row import Row, show

LOOK_SECONDS = 0.1


def campaign() -> Row:
    """One run, looked at ten times a second from its first to its last moment."""
    seen: set[tuple[str, str, int]] = set()
    processes: set[int] = set()
    with tempfile.TemporaryDirectory(prefix="s-", ignore_cleanup_errors=True) as name:
        run = RealRun(Path(name))
        while run.process.poll() is None:
            family = _family(run.process.pid)
            processes |= {process.pid for process in family}
            for process in family:
                seen |= listening(process)
            time.sleep(LOOK_SECONDS)
        code, said = run.end()
    beyond = sorted(f"{name} listens at {host}:{port}" for name, host, port in seen if not _is_loopback(host))
    failed = [f"the run ended with {code}: {said}"] if code else []
    return Row(
        what="listening sockets beyond loopback during a local run",
        reach="0",
        measured=f"{len(beyond)} of {len(seen)} listening sockets of {len(processes)} processes",
        violations=(*failed, *beyond, *([] if seen else ["no socket was seen at all: nothing was looked at"])),
    )


def listening(process: psutil.Process) -> set[tuple[str, str, int]]:
    """Name of the process, address and port of each of its listening sockets."""
    with suppress(psutil.NoSuchProcess):
        name, connections = process.name(), process.net_connections("tcp")
        return {(name, each.laddr.ip, each.laddr.port) for each in connections if each.status == psutil.CONN_LISTEN}
    return set()


def _family(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        driver = psutil.Process(pid)
        return [driver, *driver.children(recursive=True)]
    return []


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.removeprefix("::ffff:")).is_loopback


if __name__ == "__main__":
    sys.exit(show(campaign()))
