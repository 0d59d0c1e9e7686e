from __future__ import annotations

import ipaddress
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from orchestrator.errors import EnvironmentRefusedError
from orchestrator.result import CellFinished, StageStarted
from orchestrator.schedulers.base import Program, load
from orchestrator.schedulers.places import Slot
from orchestrator.schedulers.ray import _Dispatch, _Interruption
from orchestrator.spec import ClusterSpec
from tests.misbehaving import units
from tests.misbehaving.family import wait_for_the_end_of

ROOT = Path(__file__).parents[2]
CLUSTER = ClusterSpec(kind="local", workers=2, threads_per_worker=1)


def test_a_bad_cell_costs_itself_and_what_a_unit_leaves_is_noted(ray_run) -> None:
    results = ray_run.results
    assert results["crashes-a"].reason == "verify: the process was killed by SIGSEGV"
    assert results["crashes-b"].status == "passed"
    assert [finding.kind for finding in results["strays-a"].findings] == ["stray_process"]


def test_a_unit_whose_fork_server_or_supervisor_is_lost_goes_on_once_and_does_nothing_twice(ray_run) -> None:
    a, b, c = (ray_run.results[cell] for cell in ("loses-a", "loses-b", "loses-c"))
    assert [(result.status.value, result.attempts) for result in (a, b, c)] == [
        ("passed", 1),
        ("passed", 2),
        ("infra_error", 2),
    ]
    assert c.error is not None
    assert (c.error.kind, c.error.stage) == ("supervisor_lost", "emit")
    assert [event.cell for event in ray_run.of("loses") if isinstance(event, StageStarted)].count("loses-a") == 2


def test_all_sockets_listen_on_loopback(ray_run) -> None:
    addresses = [ipaddress.ip_address(address.removeprefix("::ffff:")) for address in ray_run.listening]
    assert addresses
    assert all(address.is_loopback for address in addresses)


def test_nothing_is_left_behind(ray_run) -> None:
    assert (ray_run.left, ray_run.temporary, ray_run.home) == ([], [], [])


@contextmanager
def interrupted_driver(store: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A driver whose last unit hangs, and all that it has started."""
    command = [sys.executable, "-m", "tests.misbehaving.driver", str(store)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        while not ("hangs" in (line := driver.stdout.readline()) and "CAPTURE" in line):
            assert line, "the driver ended too early"
        yield driver, psutil.Process(driver.pid).children(recursive=True)


def test_the_first_signal_ends_the_run_with_nothing_left(tmp_path: Path) -> None:
    with interrupted_driver(tmp_path) as (driver, family):
        # Not SIGINT, which the next test sends: ray.init takes this one.
        driver.send_signal(signal.SIGTERM)
        output, _ = driver.communicate(timeout=20)
    assert driver.returncode == 130
    assert output.endswith("Interrupted: everything was stopped. What was finished is kept.\n")
    assert len(family) > 10
    wait_for_the_end_of(family)


def test_the_second_signal_ends_it_at_once_with_nothing_left(tmp_path: Path) -> None:
    with interrupted_driver(tmp_path) as (driver, family):
        while driver.poll() is None:
            driver.send_signal(signal.SIGINT)
            time.sleep(0.02)
        output, _ = driver.communicate()
    assert driver.returncode == 130
    assert "Interrupted" not in output
    wait_for_the_end_of(family)


class NoPlaces:
    """A cluster whose only node was lost before a supervisor could be started there."""

    knows_gpus = True
    slots = (Slot(node="1", name="node 1"),)

    def new_supervisor(self, _slot: Slot) -> None:
        return None

    def lost(self, _slot: Slot) -> bool:
        return True


def test_units_for_which_no_supervisor_can_be_started_do_not_wait_for_ever(tmp_path: Path) -> None:
    tasks = [units.make_task(tmp_path, "a", "b", name="first"), units.make_task(tmp_path, "c", name="second")]
    events = list(_Dispatch(tasks, NoPlaces(), _Interruption(tmp_path)).events())
    results = [event.result for event in events if isinstance(event, CellFinished)]
    assert [(result.cell, result.status.value) for result in results] == [(cell, "infra_error") for cell in "abc"]
    assert results[0].reason == "build: no supervisor was left for it and none could be started"


def test_no_units_need_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert list(load("local")([], CLUSTER)) == []


def test_a_temporary_folder_too_deep_for_sockets_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("deep" * 10)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    program = Program(function=units.FUNCTION, preload=())
    with pytest.raises(EnvironmentRefusedError, match="TMPDIR"):
        list(load("local")([units.make_task(tmp_path, "a")], CLUSTER, program))


def test_what_cannot_be_imported_ends_the_run_and_not_its_cells(tmp_path: Path) -> None:
    program = Program(function=units.FUNCTION, preload=("no_such_library",))
    with pytest.raises(EnvironmentRefusedError, match="ModuleNotFoundError: No module named 'no_such_library'"):
        list(load("local")([units.make_task(tmp_path, "a")], CLUSTER, program))
