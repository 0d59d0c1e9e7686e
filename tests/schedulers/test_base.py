from __future__ import annotations

import subprocess
import sys
import typing
from pathlib import Path

from orchestrator.schedulers.base import SCHEDULERS, UNIT, load
from orchestrator.spec import ClusterSpec

ROOT = Path(__file__).parents[2]


def test_every_kind_of_cluster_has_a_scheduler() -> None:
    kinds = typing.get_args(typing.get_type_hints(ClusterSpec)["kind"])
    assert set(SCHEDULERS) == set(kinds)
    assert all(callable(load(kind)) for kind in kinds)


def test_choosing_a_scheduler_imports_neither_ray_nor_torch() -> None:
    code = """if True:
        import sys
        from orchestrator.schedulers.base import SCHEDULERS, load
        for kind in SCHEDULERS:
            load(kind)
        print({"ray", "torch"} & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_real_program_exists() -> None:
    module, _, name = UNIT.function.partition(":")
    source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text()
    assert f"def {name}(" in source
    assert all((ROOT / module.replace(".", "/")).with_suffix(".py").exists() for module in UNIT.preload)
