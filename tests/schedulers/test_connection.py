from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import EnvironmentRefusedError
from orchestrator.schedulers import connection
from orchestrator.schedulers.connection import existing_ray
from orchestrator.spec import ClusterSpec


@pytest.fixture
def listener() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An address of another machine, where something answers, and a user without a token."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(connection, "_probe", lambda _: False)
    return "head:6379"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The environments in which Ray was asked to connect; it is not there."""
    seen: list[dict[str, str]] = []

    class NoRay:
        @staticmethod
        def init(**_: object) -> None:
            seen.append(dict(os.environ))
            raise ConnectionError("nobody is there")

        @staticmethod
        def shutdown() -> None:
            pass

    monkeypatch.setitem(sys.modules, "ray", NoRay)
    return seen


def refusal(address: str, *, allow_no_token: bool = False) -> str:
    cluster = ClusterSpec(kind="ray", workers=1, threads_per_worker=1, address=address, allow_no_token=allow_no_token)
    before = dict(os.environ)
    with pytest.raises(EnvironmentRefusedError) as refused, existing_ray(cluster):
        pass
    assert dict(os.environ) == before
    return str(refused.value)


def test_another_machine_without_a_token_is_refused_before_ray_is_asked(elsewhere: str, asked: list[dict[str, str]]) -> None:
    assert refusal(elsewhere).startswith("There is no token for the cluster at head:6379: set RAY_AUTH_TOKEN or ")
    assert asked == []


def test_another_machine_without_a_token_can_be_allowed(elsewhere: str, asked: list[dict[str, str]]) -> None:
    refusal(elsewhere, allow_no_token=True)
    assert asked[0]["RAY_AUTH_MODE"] == "disabled"


def test_this_machine_needs_no_token(elsewhere: str, asked: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_probe", lambda _: True)
    assert refusal(elsewhere).endswith(". There is no token for it here; it may ask for one.")
    assert (asked[0]["RAY_AUTH_MODE"], asked[0]["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]) == ("disabled", "0")


def test_the_users_token_is_left_to_ray_wherever_it_is(
    elsewhere: str, asked: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    assert refusal(elsewhere) == (
        "The cluster at head:6379 cannot be used: nobody is there. Is the token the one that it was started with?"
    )
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / ".ray" / "auth_token"))
    refusal(elsewhere)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    refusal(elsewhere)
    assert [environment["RAY_AUTH_MODE"] for environment in asked] == ["token"] * 3
    assert [environment.get("RAY_AUTH_TOKEN") for environment in asked] == [None, None, "mine"]


def test_a_token_that_the_user_does_not_want_counts_as_none(elsewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert refusal(elsewhere).startswith("There is no token")


def test_a_token_file_that_is_not_there_is_refused(elsewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/nowhere/token")
    assert refusal(elsewhere) == "RAY_AUTH_TOKEN_PATH=/nowhere/token: there is no such file."


def test_loopback_is_known_by_who_answers(listener: str) -> None:
    assert connection._probe(listener) is True
    assert connection._probe(listener.replace("127.0.0.1", "localhost")) is True


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-machine.invalid:6379"])
def test_an_address_where_nothing_answers_is_refused(address: str) -> None:
    assert refusal(address).startswith(f"Nothing answers at cluster.address={address}: ")


def test_nodes_import_from_our_folders_and_not_from_our_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    paths = connection._own_paths()
    assert paths[0] == str(tmp_path)
    assert str(Path(__file__).parents[2]) in paths
    assert not any("site-packages" in path for path in paths)
    assert not any(Path(path, "os.py").exists() for path in paths)
