"""`python -m tests.misbehaving.cluster FOLDER` is a Ray cluster of two nodes, a and b; b says that it has a GPU.

A line on stdin kills b, the end of stdin ends the cluster.

Each node has an environment of its own: NODE, and LEAVE and TMPDIR below FOLDER.
"""

# ruff: noqa: T201
from __future__ import annotations

import os
import sys
from pathlib import Path

SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    # A dead node is noticed after 1.4 s instead of 15.
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_initial_delay_ms": "0",
}


def main(folder: Path) -> None:
    os.environ.update(SETTINGS)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=node(folder, "a") | {"temp_dir": str(folder / "ray")})
    killed = cluster.add_node(**node(folder, "b"), num_gpus=1)
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        killed.all_processes["raylet"][0].process.kill()
    cluster.shutdown()


def node(folder: Path, name: str) -> dict[str, object]:
    (folder / name).mkdir()
    return {
        "num_cpus": 1,
        "object_store_memory": 75 << 20,
        "include_dashboard": False,
        "node_ip_address": "127.0.0.1",
        "env_vars": {"NODE": name, "LEAVE": str(folder / f"leave-{name}"), "TMPDIR": str(folder / name)},
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
