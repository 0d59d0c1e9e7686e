"""What runs on the nodes, in Ray's actors and none of Ray itself: supervisors, fork servers, and the proof that a node is fit.

Which node gets what is decided in `cluster` and `ray`.
"""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from orchestrator import provenance
from orchestrator.errors import EnvironmentRefusedError
from orchestrator.forkserver import ForkServer, ForkServerError
from orchestrator.sandbox import Sandbox
from orchestrator.schedulers.base import Program
from orchestrator.spec import UnitTask

LONGEST_FOLDER = 43
"""Characters of Ray's temporary folder: its sockets' names come on top, and 107 is what Linux allows."""


WATCH_SECONDS = 0.5
"""Between two looks at whether the process that started an actor is there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Challenge:
    """What a node has to show before it gets work."""

    store: str
    """Absolute path of the store."""
    file: str
    """Name of a file that the driver wrote there."""
    content: str
    """Of that file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """What a node has shown."""

    versions: Mapping[str, str]
    devices: frozenset[str]
    store: str
    """Why it cannot use the store; empty if it can."""


@contextmanager
def challenged(store: Path) -> Iterator[Challenge]:
    """A challenge for as long as nodes answer to it.

    Raises:
        EnvironmentRefusedError: the store cannot be written here.
    """
    path = store / f".probe-{secrets.token_hex(8)}"
    content = secrets.token_hex(32)
    try:
        store.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    except OSError as error:
        raise EnvironmentRefusedError(f"The store {store} cannot be written: {error.strerror}.") from error
    try:
        yield Challenge(store=str(store), file=path.name, content=content)
    finally:
        path.unlink(missing_ok=True)


def prove(challenge: Challenge) -> Proof:
    """Answer a challenge, on the node that it is about."""
    return Proof(
        versions=provenance.versions(),
        devices=provenance.local_devices(),
        store=_trouble_with_store(challenge),
    )


def objections(node: str, proof: Proof, ours: Mapping[str, str], *, for_gpu: bool) -> list[str]:
    """Why a node cannot take part, one line a reason, beginning with its name; empty if it can.

    Args:
        node: Its name in the lines.
        proof: What it has shown.
        ours: Versions on the driver.
        for_gpu: Whether it is to take units that need CUDA.
    """
    tools = sorted(ours.keys() | proof.versions.keys())
    pairs = [(tool, proof.versions.get(tool, "none"), ours.get(tool, "none")) for tool in tools]
    found = [f"{node}: {tool} {theirs} there, {here} here" for tool, theirs, here in pairs if theirs != here]
    if for_gpu and "cuda" not in proof.devices:
        found.append(f"{node}: Ray counts a GPU there, but there is no device cuda")
    return found + ([f"{node}: {proof.store}"] if proof.store else [])


def _trouble_with_store(challenge: Challenge) -> str:
    store = Path(challenge.store)
    if not store.is_dir():
        return f"the store {store} is not there; it must be a folder that all machines share"
    probe = store / f".probe-{secrets.token_hex(8)}"
    try:
        seen = store / challenge.file
        if not seen.exists() or seen.read_text() != challenge.content:
            return f"the store {store} is another folder than here; it must be one that all machines share"
        probe.write_text(challenge.content)
        read = probe.read_text()
        probe.unlink()
    except OSError as error:
        return f"the store {store} cannot be used: {error.strerror}"
    return "" if read == challenge.content else f"the store {store} does not give back what was written"


@contextmanager
def private_folder() -> Iterator[Path]:
    """A temporary folder of mode 0700 with a short path, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="export-", ignore_cleanup_errors=True) as name:
        if len(name) > LONGEST_FOLDER - len("/ray"):
            raise EnvironmentRefusedError(
                f"The temporary folder {tempfile.gettempdir()} has too long a path for sockets: set TMPDIR to a shorter one."
            )
        yield Path(name)


class ForkServers:
    """The fork server that supervisors share, and its successor if it is lost."""

    def __init__(self, folder: Path, preload: Sequence[str], threads: int) -> None:
        self.scratch = Path(tempfile.mkdtemp(dir=folder, prefix="scratch-"))
        """For supervisors."""
        self._folder = folder
        self._preload, self._threads = preload, threads
        self._count = 0
        self._server = self._start()

    def address(self) -> str:
        """Of a server that runs.

        Raises:
            EnvironmentRefusedError: the last one ended before it could fork; so would the next, unless the first was killed.
        """
        if not self._server.running:
            once_more = self._server.killed and self._count == 1
            if not self._server.loaded and not once_more:
                raise EnvironmentRefusedError(f"What every unit needs cannot be imported: {self._server.last_words}")
            self._server = self._start()
        return self._server.address

    def close(self) -> None:
        """End the server and all its children."""
        self._server.close()

    def _start(self) -> ForkServer:
        self._count += 1
        folder = self._folder / f"forkserver{self._count}"
        folder.mkdir()
        return ForkServer(folder, self._preload, self._threads)


class Supervisor:
    """The Ray actor of a slot."""

    def __init__(self, address: str, scratch: str, function: str) -> None:
        _end_with_parent(lambda: None)
        self._address = address
        self._sandbox = Sandbox(address, Path(scratch), function)

    def check(self) -> None:
        """Be there, with a fork server that is.

        Raises:
            ForkServerError: nobody listens at its address any more.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(self._address)
            except OSError as error:
                raise ForkServerError(f"the fork server is gone: {error.strerror}") from error

    def run(self, task: bytes) -> Iterator[bytes]:
        """Do a unit, JSON in and JSON out."""
        for event in self._sandbox.run(msgspec.json.decode(task, type=UnitTask)):
            yield msgspec.json.encode(event)


class Keeper:
    """The Ray actor that owns a fork server on a node of a cluster, and the folder that its supervisors work in."""

    def __init__(self, program: bytes, threads: int) -> None:
        wanted = msgspec.json.decode(program, type=Program)
        with ExitStack() as stack:
            folder = stack.enter_context(private_folder())
            self._servers = ForkServers(folder, wanted.preload, threads)
            stack.callback(self._servers.close)
            self._owned = stack.pop_all()
        _end_with_parent(self.close)

    def prove(self, challenge: bytes) -> bytes:
        """Answer a challenge, JSON in and JSON out."""
        return msgspec.json.encode(prove(msgspec.json.decode(challenge, type=Challenge)))

    def place(self) -> tuple[str, str]:
        """What a supervisor here needs: address of a fork server that runs, and scratch folder.

        Raises:
            EnvironmentRefusedError: what every unit needs cannot be imported here.
        """
        return self._servers.address(), str(self._servers.scratch)

    def close(self) -> None:
        """Leave nothing on the node."""
        self._owned.close()


def _end_with_parent(clean: Callable[[], None]) -> None:
    """End this process when its parent, Ray's daemon on the node, is gone: then the node counts as lost and its work is redone.

    Ray looks for the same, but only for processes that then belong to process 1.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        clean()
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
