"""`python -m tests.misbehaving.cluster FOLDER` is a Ray cluster of two nodes, a and b; b seems to have a GPU.

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


GPU = """
import contextlib
with contextlib.suppress(ImportError):
    from orchestrator import provenance
    provenance.local_devices = lambda: frozenset({"cpu", "cuda"})
"""
"""What Python runs when it starts, if it is found as sitecustomize."""


def main(folder: Path) -> None:
    os.environ.update(SETTINGS)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=node(folder, "a") | {"temp_dir": str(folder / "ray")})
    b = node(folder, "b")
    (folder / "python-b" / "sitecustomize.py").write_text(GPU)
    killed = cluster.add_node(**b, num_gpus=1)
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        killed.all_processes["raylet"][0].process.kill()
    cluster.shutdown()


def node(folder: Path, name: str) -> dict[str, object]:
    (folder / name).mkdir()
    (folder / f"python-{name}").mkdir()
    return {
        "num_cpus": 1,
        "object_store_memory": 75 << 20,
        "include_dashboard": False,
        "node_ip_address": "127.0.0.1",
        "env_vars": {
            "NODE": name,
            "LEAVE": str(folder / f"leave-{name}"),
            "TMPDIR": str(folder / name),
            "PYTHONPATH": str(folder / f"python-{name}"),
        },
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
