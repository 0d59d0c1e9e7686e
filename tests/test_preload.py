from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

CODE = """
import json, sys
import orchestrator.preload
import psutil, tqdm
names = ("torch", "onnxruntime", "orchestrator.unit", "torch._dynamo", "torch.onnx._internal.exporter._core")
print(json.dumps([psutil.Process().num_threads(), tqdm.tqdm.monitor_interval, [name in sys.modules for name in names]]))
"""


def test_the_stack_is_loaded_without_starting_a_thread() -> None:
    from orchestrator.forkserver import environment

    command = [sys.executable, "-W", "ignore", "-c", CODE]
    done = subprocess.run(command, cwd=ROOT, env=environment(threads=2), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [1, 0, [True] * 5]
