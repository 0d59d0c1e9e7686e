"""How large, how fast to write and how fast to use report.html is: `python -m benchmarks.report_page [CELLS]`.

The run is made up: models with two exporters' graphs, a few causes of failure in many cells. Times in headless Chromium, from
the address or the key press until the picture is on the screen. 5,000 cells unless said.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.report import html
from orchestrator.report.summary import Report, summarise
from orchestrator.result import CellResult, Check, CheckStatus, ProbeError, Status
from orchestrator.spec import Plan, Unit
from orchestrator.store.ledger import Record
from tests import synthetic
from tests.browser import browser

EXPORTERS = ("dynamo", "torchscript", "torchscript_script")
OPSETS = range(18, 24)
FAMILIES = ("resnet", "vit", "convnext", "bert", "gpt", "unet", "lstm", "efficientnet", "swin", "whisper")
OPERATORS = ("Add", "Cast", "Concat", "Conv", "Div", "Erf", "Gather", "Gemm", "MatMul", "Mul", "ReduceMean", "Relu", "Reshape")
PROBES = {"parity": ("example", "other values", "case long"), "shapes": ("batch=3", "batch=1", "batch=16", "batch=3, length=7")}
TRIES = 7
PAINTED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"


def made_up(cells: int) -> tuple[Plan, list[Record]]:
    """A plan of so many cells, rounded up to whole models, and a ledger."""
    models = -(-cells // (len(EXPORTERS) * len(OPSETS)))
    names = [f"{FAMILIES[number % len(FAMILIES)]}_{number // len(FAMILIES):02d}" for number in range(models)]
    units = [synthetic.unit(name, exporter, OPSETS) for name in names for exporter in EXPORTERS]
    results = [result for number, unit in enumerate(units) for result in _results(unit, random.Random(number))]
    return synthetic.plan(*units), synthetic.ledger(*results, end=synthetic.ended(exit_code=1))


def _results(unit: Unit, draw: random.Random) -> Iterator[CellResult]:
    operators = {name: draw.randint(1, 90) for name in OPERATORS if draw.random() < 0.8}
    fate = draw.random()
    for cell in unit.cells:
        status, changes = _outcome(fate, cell.opset, draw)
        result = synthetic.result(cell.id, status, **changes)
        if result.artifact:
            later = {"Gelu": 12} if cell.opset >= 20 else {}
            graph = synthetic.graph(f"{draw.getrandbits(4):x}", draw.randint(90_000, 900_000))
            files = (graph, replace(synthetic.weights(), bytes=draw.randint(1, 900) * 1_000_000))
            result = replace(result, artifact=replace(result.artifact, op_counts=operators | later, files=files))
        yield replace(result, durations={stage: seconds * draw.uniform(0.3, 6) for stage, seconds in result.durations.items()})


def _outcome(fate: float, opset: int, draw: random.Random) -> tuple[Status, dict[str, Any]]:
    error = 10 ** draw.uniform(-7, -5.2)
    if fate < 0.02:
        return Status.EXPORT_FAILED, {}
    if fate < 0.03 and opset >= 21:
        detail = f"logits on batch=3: error {draw.uniform(1, 9):.2e} is above 3.4e-05; worst at [{draw.randint(0, 3)}, 7]"
        wrong = Check(id="shapes", status=CheckStatus.FAILED, detail=detail, measured=draw.uniform(1, 9), threshold=3.4e-5)
        return Status.CHECK_FAILED, {"reason": f"shapes: {detail}", "checks": synthetic.checks(shapes=wrong)}
    if fate < 0.035:
        return draw.choice([Status.TIMEOUT, Status.OOM, Status.CRASHED]), {}
    detail = f"7 comparisons; worst logits on example: {error:.1e} of 3.4e-05 allowed, 1.3 x eager's own"
    checks = {name: _measured(name, detail, error, draw) for name in PROBES}
    return Status.PASSED, {"checks": synthetic.checks(**checks)}


def _measured(name: str, detail: str, error: float, draw: random.Random) -> Check:
    probes = tuple(
        ProbeError(probe=probe, measured=error * draw.uniform(0.2, 1), threshold=3.4e-5 * draw.uniform(1, 3))
        for probe in PROBES[name]
    )
    return Check(id=name, status=CheckStatus.PASSED, detail=detail, measured=error, threshold=3.4e-5, probes=probes)


def timed(path: Path) -> dict[str, list[float]]:
    """Milliseconds of each act, several times."""
    acts = {
        "filter by text": "search('vit')",
        "filter by exporter": "choose(1)",
        "filter by status": "tick()",
        "clear filters": "clear.click()",
        "open a cell": "panel.open(CELLS[CELLS.length >> 1])",
    }
    helpers = """
        const form = document.getElementById('filters');
        window.search = text => { const box = form.querySelector('[type=search]'); box.value = text; box.oninput(); };
        window.choose = at => { const box = form.querySelectorAll('select')[at]; box.selectedIndex = 1; box.onchange(); };
        window.tick = () => { form.querySelector('[type=checkbox]').click(); };
    """
    found: dict[str, list[float]] = {}
    with browser() as chromium:
        for _ in range(TRIES):
            page = chromium.new_page(viewport={"width": 1280, "height": 900})
            page.goto(path.as_uri())
            found.setdefault("open", []).append(page.evaluate(PAINTED))
            page.evaluate(helpers)
            for name, act in acts.items():
                begun = f"(async () => {{ const begun = performance.now(); {act}; return await {PAINTED} - begun; }})()"
                found.setdefault(name, []).append(page.evaluate(begun))
            page.close()
    return found


def write(report: Report, plan: Plan, folder: Path) -> Path:
    """The page, with the figures of its making."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    data = html.render(report, plan, lambda _: "a line of the log\n" * 40)
    seconds = time.perf_counter() - begun
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    size = len(data) / 1e6
    print(f"{len(report.cells):,} cells: {size:.1f} MB, written in {seconds:.2f} s, peak memory {more:.0f} MB more")
    path = folder / "report.html"
    path.write_bytes(data)
    return path


def main(cells: int) -> None:
    plan, records = made_up(cells)
    with tempfile.TemporaryDirectory() as folder:
        for name, times in timed(write(summarise(plan, records), plan, Path(folder))).items():
            print(f"  {name:<20} {sorted(times)[TRIES // 2]:6.0f} ms   (worst of {TRIES}: {max(times):.0f} ms)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
