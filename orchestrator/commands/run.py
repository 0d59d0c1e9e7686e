"""The default verb: a batch from specs to an exit code. Plan, then record whatever the scheduler's workers report."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from orchestrator import provenance
from orchestrator.errors import InterruptedRunError, OrchestratorError
from orchestrator.folder import RunFolder
from orchestrator.plan import plan as make_plan
from orchestrator.plan import share_cores
from orchestrator.report import live, terminal
from orchestrator.report.summary import exit_code
from orchestrator.result import CellFinished
from orchestrator.schedulers import base as schedulers
from orchestrator.spec import Plan, RunSpec, Unit, UnitTask
from orchestrator.store.ledger import RunStatus


def run(spec: RunSpec, configs: Mapping[str, str]) -> int:
    """Exports and verifies everything that is asked for, in a run folder of its own.

    Args:
        spec: What the user asked for.
        configs: Texts for `.hydra/`, by file name.

    Returns:
        0 if every cell ended as expected, else 1.

    Raises:
        UserError: The plan is refused; there is no run folder.
        EnvironmentRefusedError: Workers, store or disk refused, before or during the run.
        InterruptedRunError: Ctrl-C or SIGTERM; what was finished is on record.
    """
    plan = share_cores(make_plan(spec, provenance.local_devices()), os.cpu_count() or 1)
    console = terminal.open_console()
    folder = RunFolder.create(plan, configs)
    folder.start(["python", "-m", "orchestrator", *sys.argv[1:]], provenance.versions(), provenance.host())
    with _recorded_end(folder):
        _work(plan, folder, live.view(plan, console))
    report = folder.close(RunStatus.FINISHED)
    terminal.show(report, folder.path, console)
    return exit_code(report)


def _work(plan: Plan, folder: RunFolder, view: live.View) -> None:
    """Let the scheduler do the units; each finished cell is delivered and on record before it is shown."""
    tasks = [_task(plan, unit) for unit in plan.units if any(cell.skip is None for cell in unit.cells)]
    cluster = plan.settings.cluster
    with view, closing(schedulers.load(cluster.kind)(tasks, cluster)) as events:
        for event in events:
            view.on_event(CellFinished(result=folder.finish_cell(event.result)) if isinstance(event, CellFinished) else event)


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
