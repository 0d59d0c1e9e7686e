"""`python -m tests.misbehaving.driver STORE` does two units on Ray, one that never ends, for tests that interrupt it."""

# ruff: noqa: T201
from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.errors import InterruptedRunError
from orchestrator.schedulers.base import Program, load
from orchestrator.spec import ClusterSpec
from tests.misbehaving import units


def main(store: Path) -> int:
    tasks = [
        units.make_task(store, "a", deed="leave_a_daemon", when="verify", name="daemon"),
        units.make_task(store, "b", deed="sleep_in_native_code", when="capture", name="hangs"),
    ]
    cluster = ClusterSpec(kind="local", workers=2, threads_per_worker=1)
    try:
        for event in load("local")(tasks, cluster, Program(function=units.FUNCTION, preload=())):
            print(event, flush=True)
    except InterruptedRunError as error:
        print(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
