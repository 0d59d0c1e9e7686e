"""What planning costs: 10,000 cells of 200 models, and 1,000 combinations of values of one model.

`python -m benchmarks.planning` prints seconds from the shell and the peak memory of `plan=true`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODEL = """name: {name}
build: {{_target_: torch.nn.Linear, in_features: 4, out_features: 3}}
weights: {{seed: 0}}
dims: {{batch: {{min: 1, max: 16}}}}
inputs: [{{name: features, shape: [batch, 4], range: [-1, 1]}}]
outputs: [logits]
"""
FLEET = """models: ["bench_*"]
matrix: {exporter: [dynamo, torchscript], opset: "range(14,20)", dtype: [float64, float32, float16, bfloat16]}
"""


def main() -> None:
    """Write 200 models and a fleet of them, plan, and print a line per figure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model").mkdir()
        (folder / "fleet").mkdir()
        for i in range(200):
            (folder / "model" / f"bench_{i}.yaml").write_text(MODEL.format(name=f"bench_{i}"))
        (folder / "fleet" / "bench.yaml").write_text(FLEET)
        plan("200 models", folder, "+fleet=bench")
        plan("1 model", folder, "+model=bench_0", "verify.seed=range(0,100)", "limits.seconds=range(1,11)")


def plan(what: str, folder: Path, *arguments: str) -> None:
    """Plan in a process of its own and print what it took."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "orchestrator", "--config-dir", str(folder), f"hydra.sweep.dir={folder}/runs"]
    with subprocess.Popen([*command, *arguments, "plan=true"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        summary = process.stdout.read().splitlines()[-1]
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    assert status == 0
    print(f"{what}, {summary}: {seconds:.1f} s, {usage.ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
