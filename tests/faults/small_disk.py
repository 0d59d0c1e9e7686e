"""A real tmpfs of some megabytes for one command and all that it starts, in a mount namespace of their own. Linux only."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Sequence
from pathlib import Path

MOUNT = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@"'


def on_small_disk(folder: Path, size: int, command: Sequence[str]) -> list[str]:
    """The command with a small disk where a folder is; nobody else sees what is there.

    Args:
        folder: An existing folder.
        size: Bytes, at least some pages.
        command: What is to see the disk.
    """
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", str(size), str(folder), *command]


@functools.cache
def available() -> bool:
    """Whether this machine lets us: the kernel must allow user namespaces."""
    try:
        done = subprocess.run(on_small_disk(Path("/tmp"), 1 << 20, ["true"]), capture_output=True, check=False)  # noqa: S108
    except FileNotFoundError:
        return False
    return done.returncode == 0
