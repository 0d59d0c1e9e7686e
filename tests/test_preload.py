from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from orchestrator.forkserver import environment

ROOT = Path(__file__).parents[1]

CODE = """
import json, sys
import torch
asked = []
torch._C._cuda_getDeviceCount = lambda: asked.append("devices") or 0
torch._C._cuda_init = lambda: asked.append("init")
import orchestrator.preload
import psutil, tqdm
names = ("onnxruntime", "orchestrator.unit", "torch._dynamo", "torch.onnx._internal.exporter._compat")
loaded = [name in sys.modules for name in names]
threads = psutil.Process().num_threads()
print(json.dumps({"threads": threads, "monitor": tqdm.tqdm.monitor_interval, "loaded": loaded, "cuda": asked}))
"""


def test_the_stack_is_loaded_and_can_be_forked() -> None:
    """A process with threads must not fork, and the children of one that has used CUDA cannot use it."""
    command = [sys.executable, "-W", "ignore", "-c", CODE]
    done = subprocess.run(command, cwd=ROOT, env=environment(threads=2), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"threads": 1, "monitor": 0, "loaded": [True] * 4, "cuda": []}


def test_what_only_some_models_bring_need_not_be_there() -> None:
    """An installation without the extra `zoo` has no tqdm."""
    code = "import sys; sys.modules['tqdm'] = None; import orchestrator.preload; print('loaded')"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment(threads=2), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("loaded\n", "")
