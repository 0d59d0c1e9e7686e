"""The default verb: a batch from specs to an exit code. Plan, then record whatever the scheduler's workers report."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from orchestrator import layout, provenance
from orchestrator.cache import Cache, Known
from orchestrator.errors import EXIT_PASSED, EnvironmentRefusedError
from orchestrator.execute import execute
from orchestrator.folder import RunFolder
from orchestrator.history import estimates
from orchestrator.history import index as history_index
from orchestrator.keys.cells import Keys
from orchestrator.plan import identifier, share_cores
from orchestrator.plan import plan as make_plan
from orchestrator.report import planned, terminal, wording
from orchestrator.selection import select
from orchestrator.spec import ClusterSpec, Plan, RunSpec
from orchestrator.store import disk, index


def run(spec: RunSpec, configs: Mapping[str, str], *, as_json: bool = False) -> int:
    """Exports and verifies everything that is asked for, in a run folder of its own; or prints the plan, if that was asked for.

    Args:
        spec: What the user asked for.
        configs: Texts for `.hydra/`, by file name.
        as_json: Print the plan for a script.

    Returns:
        0 if every cell ended as expected, else 1.

    Raises:
        UserError: The plan is refused; there is no run folder.
        EnvironmentRefusedError: Workers, store or disk refused, before or during the run.
        InterruptedRunError: Ctrl-C or SIGTERM; what was finished is on record.
    """
    runs = Path(spec.settings.runs)
    with history_index.opened(runs) as history:
        spec = select(spec, estimates.newest(history) if spec.selection.only else None)
        costs = estimates.costs(history, {identifier(request) for request in spec.requests})
    plan = make_plan(spec, _devices(spec.settings.cluster), lambda cells: estimates.seconds(cells, costs))
    plan = share_cores(plan, os.cpu_count() or 1)
    cache = Cache(plan, Keys(plan.settings.trust))
    known = cache.look_up(f"{datetime.now(UTC):%Y-%m-%d}")
    console = terminal.open_console()
    if spec.plan_only:
        planned.show(plan, known, spec.warnings, console, as_json=as_json)
        return EXIT_PASSED
    for warning in spec.warnings:
        sys.stderr.write(f"{warning}\n")
    _check_disk(plan, known, costs)
    index.prepare(Path(plan.settings.store))
    folder = RunFolder.create(plan, configs)
    folder.start(["python", "-m", "orchestrator", *sys.argv[1:]], provenance.versions(), provenance.host())
    return execute(plan, folder, cache, known, console)


def _devices(cluster: ClusterSpec) -> frozenset[str]:
    """What workers may have; which nodes a cluster has shows when it is reached, and what none of them has is skipped then."""
    return frozenset({"cpu", "cuda"}) if cluster.kind == "ray" else provenance.local_devices()


def _check_disk(plan: Plan, known: Known, costs: Mapping[str, estimates.Cost]) -> None:
    """Refuse a run that is known to write more than there is room for."""
    done = {hit.cell for hit in known.hits if not layout.delivers(plan.settings, hit)}
    needed = estimates.bytes_needed([cell.id for cell in plan.cells if cell.skip is None and cell.id not in done], costs)
    for folder in (plan.settings.runs, plan.settings.store):
        if needed and (free := disk.free(Path(folder))) < needed:
            raise EnvironmentRefusedError(
                f"{folder}: {wording.size(free)} are free, and the artifacts will take about {wording.size(needed)} by earlier "
                "runs. Make room, or choose other folders with hydra.sweep.dir and store.path."
            )
