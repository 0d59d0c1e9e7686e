from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from orchestrator import provenance
from orchestrator.errors import EnvironmentRefusedError
from orchestrator.forkserver import ForkServerError
from orchestrator.schedulers import nodes
from orchestrator.schedulers.nodes import ForkServers, Proof, Supervisor, challenged, objections, private_folder, prove
from tests.misbehaving.family import wait_for_the_end_of

ROOT = Path(__file__).parents[2]
OURS = {"onnx": "1.23", "torch": "2.15"}


def proof(store: str = "", **versions: str) -> Proof:
    return Proof(versions=OURS | versions, devices=frozenset({"cpu"}), store=store)


def test_a_fit_node_proves_it_and_leaves_no_trace(tmp_path: Path) -> None:
    store = tmp_path / "new" / "store"
    with challenged(store) as challenge:
        proved = prove(challenge)
    assert (proved.versions, proved.devices, proved.store) == (provenance.versions(), provenance.local_devices(), "")
    assert list(store.iterdir()) == []


def test_a_store_that_is_missing_or_another_one_is_told(tmp_path: Path) -> None:
    with challenged(tmp_path) as challenge:
        (tmp_path / challenge.file).write_text("somebody else's")
        assert "is another folder than here" in prove(challenge).store
        (tmp_path / challenge.file).unlink()
        assert "is another folder than here" in prove(challenge).store
    with challenged(tmp_path / "gone") as challenge:
        (tmp_path / "gone" / challenge.file).unlink()
        (tmp_path / "gone").rmdir()
        assert "is not there; it must be a folder that all machines share" in prove(challenge).store


def test_a_store_that_cannot_be_written_is_told_on_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(30, "Read-only file system")

    with challenged(tmp_path) as challenge:
        monkeypatch.setattr(Path, "write_text", refuse)
        assert prove(challenge).store == f"the store {tmp_path} cannot be used: Read-only file system"


def test_a_store_that_cannot_be_written_here_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentRefusedError, match=r"file cannot be written: "), challenged(tmp_path / "file"):
        pass


def test_a_fit_node_meets_no_objection() -> None:
    assert objections("node", proof(), OURS, for_gpu=False) == []


def test_objections_name_the_node_and_both_versions() -> None:
    assert objections("node", proof(onnx="1.22", timm="1.0", store="the store is not there"), OURS, for_gpu=False) == [
        "node: onnx 1.22 there, 1.23 here",
        "node: timm 1.0 there, none here",
        "node: the store is not there",
    ]
    assert objections("node", Proof(versions={"onnx": "1.23"}, devices=frozenset(), store=""), OURS, for_gpu=False) == [
        "node: torch none there, 2.15 here"
    ]


def test_a_node_for_cuda_has_the_device() -> None:
    assert objections("node", proof(), OURS, for_gpu=True) == ["node: Ray counts a GPU there, but there is no device cuda"]
    proved = Proof(versions=OURS, devices=frozenset({"cpu", "cuda"}), store="")
    assert objections("node", proved, OURS, for_gpu=True) == []


def test_a_supervisor_whose_fork_server_is_gone_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    # Here it is no process of its own, and its thread would stay.
    monkeypatch.setattr(nodes, "_end_with_parent", lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        servers = ForkServers(Path(folder), (), threads=1)
        supervisor = Supervisor(servers.address(), str(servers.scratch), "tests.misbehaving.units:run")
        supervisor.check()
        servers.close()
        with pytest.raises(ForkServerError):
            supervisor.check()
        assert servers.scratch.parent == Path(folder)


def test_a_lost_fork_server_has_a_successor() -> None:
    with private_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        servers = ForkServers(folder, (), threads=1)
        first = servers.address()
        while not Path(first).with_suffix(".ready").exists():
            time.sleep(0.01)
        servers.close()
        second = servers.address()
        servers.close()
        assert first != second
    assert not folder.exists()


def test_a_fork_server_that_was_killed_while_it_loaded_has_one_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_library.py").write_text("import time; time.sleep(60)")
    monkeypatch.syspath_prepend(tmp_path)
    with private_folder() as folder:
        servers = ForkServers(folder, ("slow_library",), threads=1)
        first = servers.address()
        kill_the_one_that_loads("slow_library")
        assert servers.address() != first
        kill_the_one_that_loads("slow_library")
        with pytest.raises(EnvironmentRefusedError, match="cannot be imported: it was killed"):
            servers.address()


def kill_the_one_that_loads(library: str) -> None:
    (server,) = (process for process in psutil.Process().children() if library in process.cmdline())
    server.kill()
    wait_for_the_end_of([server])


def test_an_actor_ends_and_cleans_up_when_its_parent_is_gone() -> None:
    """The parent is killed as soon as its child, a keeper, is there."""
    keeper = (
        "import time; from orchestrator.schedulers.nodes import Keeper; "
        """keeper = Keeper(b'{"function": "", "preload": []}', 1); print(flush=True); time.sleep(60)"""
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {keeper!r}])"
    temporary = Path(tempfile.mkdtemp(dir="/tmp"))
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        assert len(list(temporary.iterdir())) == 1
        process.kill()
        # Its end of the pipe is closed when it has ended.
        assert process.stdout.read() == b""
    assert list(temporary.iterdir()) == []
    temporary.rmdir()
