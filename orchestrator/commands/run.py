"""The default verb: a batch from specs to an exit code. Plan, then record whatever the scheduler's workers report."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from orchestrator import history, provenance
from orchestrator.errors import EXIT_PASSED, EnvironmentRefusedError, InterruptedRunError, OrchestratorError
from orchestrator.folder import RunFolder
from orchestrator.plan import identifier, longest_first, share_cores
from orchestrator.plan import plan as make_plan
from orchestrator.report import live, planned, terminal, wording
from orchestrator.report.summary import exit_code
from orchestrator.result import CellFinished
from orchestrator.schedulers import base as schedulers
from orchestrator.selection import select
from orchestrator.spec import ClusterSpec, Plan, RunSpec, Unit, UnitTask
from orchestrator.store import disk
from orchestrator.store.ledger import RunStatus


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
    spec = select(spec, history.newest(runs) if spec.selection.only else None)
    known = history.costs(runs, {identifier(request) for request in spec.requests})
    plan = make_plan(spec, _devices(spec.settings.cluster), lambda cells: history.seconds(cells, known))
    plan = share_cores(plan, os.cpu_count() or 1)
    console = terminal.open_console()
    if spec.plan_only:
        planned.show(plan, spec.warnings, console, as_json=as_json)
        return EXIT_PASSED
    for warning in spec.warnings:
        sys.stderr.write(f"{warning}\n")
    _check_disk(plan, known)
    folder = RunFolder.create(plan, configs)
    folder.start(["python", "-m", "orchestrator", *sys.argv[1:]], provenance.versions(), provenance.host())
    with _recorded_end(folder):
        _work(plan, folder, live.view(plan, console))
    report = folder.close(RunStatus.FINISHED)
    terminal.show(report, folder.path, console)
    return exit_code(report)


def _devices(cluster: ClusterSpec) -> frozenset[str]:
    """What workers may have; which nodes a cluster has shows when it is reached, and what none of them has is skipped then."""
    return frozenset({"cpu", "cuda"}) if cluster.kind == "ray" else provenance.local_devices()


def _work(plan: Plan, folder: RunFolder, view: live.View) -> None:
    """Let the scheduler do the units; each finished cell is delivered and on record before it is shown."""
    tasks = [_task(plan, unit) for unit in longest_first(plan)]
    cluster = plan.settings.cluster
    with view, closing(schedulers.load(cluster.kind)(tasks, cluster)) as events:
        for event in events:
            view.on_event(CellFinished(result=folder.finish_cell(event.result)) if isinstance(event, CellFinished) else event)


def _check_disk(plan: Plan, known: Mapping[str, history.Cost]) -> None:
    """Refuse a run that is known to write more than there is room for."""
    needed = history.bytes_needed([cell.id for cell in plan.cells if cell.skip is None], known)
    for folder in (plan.settings.runs, plan.settings.store):
        if needed and (free := disk.free(Path(folder))) < needed:
            raise EnvironmentRefusedError(
                f"{folder}: {wording.size(free)} are free, and the artifacts will take about {wording.size(needed)} by earlier "
                "runs. Make room, or choose other folders with hydra.sweep.dir and store.path."
            )


def _task(plan: Plan, unit: Unit) -> UnitTask:
    settings = plan.settings
    return UnitTask(unit=unit, store=settings.store, trust=settings.trust, threads=settings.cluster.threads_per_worker)


@contextmanager
def _recorded_end(folder: RunFolder) -> Iterator[None]:
    """A run that is ended from outside says so in its ledger, and its reports show what was finished."""
    try:
        yield
    except (InterruptedRunError, KeyboardInterrupt):
        folder.close(RunStatus.INTERRUPTED)
        raise
    except OrchestratorError:
        folder.close(RunStatus.REFUSED)
        raise
