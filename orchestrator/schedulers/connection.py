"""How this process comes to a Ray: it starts one on this machine, or connects to a cluster that exists.

One of our own listens on loopback only, with a token per process, prints nothing, and leaves nothing behind.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import secrets
import signal
import socket
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.errors import EnvironmentRefusedError
from orchestrator.spec import ClusterSpec

OBJECT_STORE_BYTES = 75 << 20
"""The least that Ray takes: only events travel through it."""

CONNECT_SECONDS = 5.0
"""For the head node to accept a connection, before Ray is asked, which would go on trying."""

TOKEN_FILE = Path(".ray/auth_token")
"""Where Ray looks last, below the home folder."""

LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Without it Ray listens on all addresses, whatever node address is given."""

QUIET = {
    # Its handler for SIGTERM would abort a driver that is told to stop while it starts.
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}

SETTINGS = {
    **LOOPBACK_ONLY,
    **QUIET,
    "RAY_AUTH_MODE": "token",
    # Its monitor would kill a supervisor for what a unit did.
    "RAY_memory_monitor_refresh_ms": "0",
}
"""Environment of a Ray of our own, read when it is imported and when it starts; no argument of ray.init does the same."""

CONNECTED_SETTINGS = {
    **QUIET,
    # Tries of a second each: somebody listens, so that what is refused now is refused for ever.
    "RAY_NUM_REDIS_GET_RETRIES": "3",
}
"""Environment of a driver in a cluster that exists."""


@contextmanager
def own_ray(folder: Path, slots: int) -> Iterator[None]:
    """A Ray on this machine for as long as it is needed.

    Args:
        folder: For its files; made by Ray.
        slots: Supervisors that it has room for.

    Raises:
        EnvironmentRefusedError: it does not start.
    """
    # Supervisors import this project from where we did.
    path = os.pathsep.join(filter(None, sys.path))
    with _environment({**SETTINGS, "RAY_AUTH_TOKEN": _own_token(), "PYTHONPATH": path}, forget="RAY_"):
        options = {
            "address": "local",
            "num_cpus": slots,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": str(folder),
        }
        with _ray(options, "Ray does not start"):
            yield


@contextmanager
def existing_ray(cluster: ClusterSpec) -> Iterator[None]:
    """A connection to a cluster for as long as it is needed; the user's environment says with which token.

    Raises:
        EnvironmentRefusedError: nothing answers, the token is wrong, or there should be one.
    """
    assert cluster.address is not None
    loopback = _probe(cluster.address)
    token = _has_token(os.environ)
    if not token and not loopback and not cluster.allow_no_token:
        raise EnvironmentRefusedError(
            f"There is no token for the cluster at {cluster.address}: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the one "
            "that it was started with. For a cluster that asks for none say cluster.allow_no_token=true."
        )
    settings = CONNECTED_SETTINGS | {"RAY_AUTH_MODE": "token" if token else "disabled"} | (LOOPBACK_ONLY if loopback else {})
    options = {
        "address": cluster.address,
        "runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join([*_own_paths(), "${PYTHONPATH}"])}},
    }
    hint = "Is the token the one that it was started with?" if token else "There is no token for it here; it may ask for one."
    with _environment(settings), _ray(options, f"The cluster at {cluster.address} cannot be used", hint):
        yield


@contextmanager
def _ray(options: dict[str, Any], refusal: str, hint: str = "") -> Iterator[None]:
    import ray

    try:
        try:
            with _handlers_kept():
                ray.init(log_to_driver=False, configure_logging=False, **options)
        except ConnectionError as error:
            # Of a token that is not accepted Ray says no more than that it could not connect.
            raise EnvironmentRefusedError(f"{refusal}: {error}. {hint}".strip()) from error
        except Exception as error:
            raise EnvironmentRefusedError(f"{refusal}: {str(error).strip()}") from error
        yield
    finally:
        ray.shutdown()


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """ray.init would make SIGTERM a SystemExit of its own, and does not survive one that comes while it starts."""
    take = signal.signal
    signal.signal = lambda number, _: signal.getsignal(number)  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = take


@contextmanager
def _environment(settings: Mapping[str, str], forget: str | None = None) -> Iterator[None]:
    """Settings in our environment, from where Ray and its processes take them; as it was at the end."""
    before = dict(os.environ)
    for name in [name for name in os.environ if forget and name.startswith(forget)]:
        del os.environ[name]
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@functools.cache
def _own_token() -> str:
    """One per process, since Ray reads it once; without one Ray writes a file into the home folder."""
    return secrets.token_hex(32)


def _has_token(environment: Mapping[str, str]) -> bool:
    """Whether Ray would find a token of the user's, looking where it looks.

    Raises:
        EnvironmentRefusedError: the file that should hold it does not.
    """
    if environment.get("RAY_AUTH_MODE", "token").lower() == "disabled":
        return False
    if environment.get("RAY_AUTH_TOKEN"):
        return True
    if path := environment.get("RAY_AUTH_TOKEN_PATH"):
        if not Path(path).is_file():
            raise EnvironmentRefusedError(f"RAY_AUTH_TOKEN_PATH={path}: there is no such file.")
        return True
    return (Path.home() / TOKEN_FILE).is_file()


def _probe(address: str) -> bool:
    """Connect once.

    Returns:
        Whether the address is this machine's loopback.

    Raises:
        EnvironmentRefusedError: nothing answers.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS) as connection:
            return ipaddress.ip_address(connection.getpeername()[0]).is_loopback
    except OSError as error:
        reason = error.strerror or str(error)
        raise EnvironmentRefusedError(f"Nothing answers at cluster.address={address}: {reason}. Is the cluster up?") from error


def _own_paths() -> list[str]:
    """Folders that we import from and that belong to no installation: a node has its own tools, and proves their versions."""
    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths = [Path(path).resolve() for path in filter(None, sys.path)]
    return [str(path) for path in paths if path.is_dir() and not any(map(path.is_relative_to, installed))]
