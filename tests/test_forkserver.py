from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from orchestrator import child
from orchestrator.forkserver import ForkedChild, ForkServer, ForkServerError, environment
from tests.misbehaving import units
from tests.misbehaving.family import living, wait_for_the_end_of

ROOT = Path(__file__).parents[1]

OWNER = """
import sys, time
from pathlib import Path
from orchestrator.forkserver import ForkServer
server = ForkServer(Path(sys.argv[1]), (), 1)
print(server._process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a socket's address, which tmp_path need not be."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def fork(address: str, folder: Path, deed: str, function: str = units.FUNCTION) -> ForkedChild:
    """A child that does the deed and then hangs; nobody reads its events."""
    task = units.make_task(folder / "store", "a", deed=deed, when="build")
    request = child.Request(function=function, task=task, folder=str(folder), temporary="/nowhere")
    (folder / "request").write_bytes(msgspec.json.encode(request))
    with (
        Path(os.devnull).open("wb") as events,
        (folder / "request").open("rb") as document,
        (folder / "log").open("ab") as log,
    ):
        return ForkedChild(address, document.fileno(), events.fileno(), log.fileno())


def wait_for(log: Path, ending: str) -> str:
    """What was printed, once it ends like that."""
    while not (printed := log.read_text()).endswith(ending):
        time.sleep(0.01)
    return printed


def stray_of(folder: Path) -> psutil.Process:
    """What a child left running; it prints its process id first."""
    printed = wait_for(folder / "log", "verify a\n")
    words = printed.split()
    return psutil.Process(int(words[words.index("left") + 1]))


def test_the_wait_status_tells_how_the_child_died(folder: Path) -> None:
    with ForkServer(folder, (), 1) as server:
        for deed, code in [("exit_seven", 7), ("exit_zero", 0), ("segfault", -signal.SIGSEGV)]:
            with fork(server.address, folder, deed) as forked:
                assert os.waitstatus_to_exitcode(forked.wait()) == code


@pytest.mark.parametrize("deed", ["leave_a_child", "leave_a_daemon"])
def test_with_a_child_goes_all_that_it_started(folder: Path, deed: str) -> None:
    with ForkServer(folder, (), 1) as server:
        with fork(server.address, folder, deed) as forked:
            stray = stray_of(folder)
            family = [stray, psutil.Process(forked.pid)]
            assert living(family) == family
        assert living(family) == []


def test_children_run_side_by_side_and_one_death_touches_no_other(folder: Path) -> None:
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    with ForkServer(folder, (), 1) as server, fork(server.address, folder / "one", "sleep") as sleeping:
        with fork(server.address, folder / "two", "segfault") as dying:
            dying.wait()
        assert living([psutil.Process(sleeping.pid)])


def test_when_the_server_is_killed_its_children_and_their_children_go_too(folder: Path) -> None:
    with ForkServer(folder, (), 1) as server, fork(server.address, folder, "leave_a_child") as forked:
        stray = stray_of(folder)
        server_process = psutil.Process(forked.pid).parent()
        assert server_process is not None
        server_process.kill()
        with pytest.raises(ForkServerError):
            forked.wait()
        wait_for_the_end_of([stray])
        assert not server.running


def test_when_the_owner_is_killed_the_server_ends_with_everything(folder: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as owner:
        assert owner.stdout is not None
        server = psutil.Process(int(owner.stdout.readline()))
        with fork(str(folder / "forkserver.sock"), folder, "leave_a_daemon") as forked:
            family = [server, psutil.Process(forked.pid), stray_of(folder)]
            owner.kill()
            wait_for_the_end_of(family)


def test_what_is_preloaded_has_its_temporary_files_in_the_servers_folder(folder: Path) -> None:
    with ForkServer(folder, (), 1) as server, fork(server.address, folder, "nothing") as child_:
        (served,) = psutil.Process().children()
        assert served.environ()["TMPDIR"] == str(folder)
        assert child_.pid in {process.pid for process in served.children()}


def test_a_preload_that_fails_is_told_with_its_traceback(folder: Path) -> None:
    with (
        ForkServer(folder, ("no_such_library",), 1) as server,
        pytest.raises(ForkServerError, match="No module named 'no_such_l"),
    ):
        fork(server.address, folder, "nothing")


def test_a_child_does_not_see_what_is_for_ray_or_a_debugger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    monkeypatch.setenv("PYTHONBREAKPOINT", "ipdb.set_trace")
    monkeypatch.setenv("PYTHONPATH", "/models")
    seen = environment(threads=3)
    assert not {"RAY_AUTH_TOKEN", "PYTHONBREAKPOINT"} & seen.keys()
    assert (seen["PYTHONPATH"], seen["OMP_NUM_THREADS"], seen["ORT_DISABLE_TELEMETRY"]) == ("/models", "3", "1")


def test_children_see_that_environment_and_a_temporary_folder_of_their_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    function = "tests.misbehaving.units:show_environment"
    with ForkServer(folder, (), 1) as server, fork(server.address, folder, "nothing", function):
        seen = json.loads(wait_for(folder / "log", "}\n"))
    assert seen["TMPDIR"] == "/nowhere"
    assert "RAY_AUTH_TOKEN" not in seen
