"""From an accepted plan to the end of its run: what is known is taken over, the rest is done, all is recorded and shown."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

from rich.console import Console

from orchestrator import baseline
from orchestrator.attribution import waiting
from orchestrator.cache import Cache, Known
from orchestrator.errors import InterruptedRunError, OrchestratorError
from orchestrator.folder import RunFolder
from orchestrator.keys import surroundings
from orchestrator.plan import longest_first
from orchestrator.report import live, mlflow_log, step_summary, terminal, wording
from orchestrator.report.summary import exit_code
from orchestrator.result import CellFinished, CellResult, Status
from orchestrator.schedulers import base as schedulers
from orchestrator.spec import Plan, Unit, UnitTask
from orchestrator.store.ledger import RunStatus


def execute(
    plan: Plan, folder: RunFolder, cache: Cache, known: Known, console: Console, kept: Sequence[CellResult] = ()
) -> int:
    """Do what is not known; each finished cell is delivered and on record before it is shown.

    Args:
        plan: The accepted plan.
        folder: Of the run, begun or resumed.
        cache: What the plan was looked up in.
        known: What was found.
        console: For the live view and the end.
        kept: Outcomes from before the run was resumed, which are on record.

    Returns:
        0 if every cell ended as expected and none is gone, else 1.

    Raises:
        EnvironmentRefusedError: Workers, store or disk refused, or the baseline is damaged.
        InterruptedRunError: Ctrl-C or SIGTERM; what was finished is on record.
    """
    with _recorded_end(folder):
        accepted = baseline.read(folder.path.parent)
        _work(plan, folder, live.view(plan, console), cache, known, kept)
        _measure(plan, folder, console)
        if accepted.cells:
            folder.compare(accepted)
    report = folder.close(RunStatus.FINISHED)
    terminal.show(report, folder.path, console, plan.settings.terminal)
    step_summary.append(report)
    if plan.settings.mlflow:
        mlflow_log.log(report, folder.path, plan.settings.mlflow)
    return exit_code(report)


def _work(plan: Plan, folder: RunFolder, view: live.View, cache: Cache, known: Known, kept: Sequence[CellResult]) -> None:
    with view:
        for result in kept:
            view.on_event(CellFinished(result=result))
        done = [result.cell for result in kept]
        for hit in known.hits:
            if folder.finish_known(hit):
                done.append(hit.cell)
                view.on_event(CellFinished(result=hit))
            else:
                cache.missed(hit.cell)
        tasks = [task for unit in longest_first(plan) if waiting(task := _task(plan, unit, done, known.exported, cache))]
        with closing(schedulers.load(plan.settings.cluster.kind)(tasks, plan.settings.cluster)) as events:
            for event in events:
                view.on_event(_recorded(event, folder, cache) if isinstance(event, CellFinished) else event)


def _measure(plan: Plan, folder: RunFolder, console: Console) -> None:
    """Time and memory of what passed, where that was asked for: one cell at a time, when nothing else is at work."""
    asked = {cell.id for cell in plan.cells if cell.target.latency}
    passed = {cell: one for cell, one in folder.outcomes().items() if one.status is Status.PASSED} if asked else {}
    tasks = [
        replace(_plain_task(plan, unit), done=tuple(cell.id for cell in unit.cells if cell.id not in wanted), exported=wanted)
        for unit in plan.units
        if (wanted := {cell.id: passed[cell.id] for cell in unit.cells if cell.id in asked and cell.id in passed})
    ]
    if not tasks:
        return
    if plan.settings.terminal != "quiet":
        console.print(
            f"measuring {wording.count(sum(len(task.exported) for task in tasks), 'cell')} beside eager, one at a time"
        )
    alone = replace(plan.settings.cluster, workers=1)
    with closing(schedulers.load(alone.kind)(tasks, alone, schedulers.MEASURE)) as events:
        for event in events:
            if isinstance(event, CellFinished):
                folder.finish_measured(event.result)


def _recorded(event: CellFinished, folder: RunFolder, cache: Cache) -> CellFinished:
    result = folder.finish_cell(cache.with_keys(event.result))
    cache.remember(result)
    return CellFinished(result=result)


def _task(plan: Plan, unit: Unit, done: Collection[str], exported: Mapping[str, CellResult], cache: Cache) -> UnitTask:
    cells = {cell.id for cell in unit.cells}
    return replace(
        _plain_task(plan, unit),
        done=tuple(cell for cell in done if cell in cells),
        answers=cache.answers_key(unit),
        tools=surroundings.fingerprint(),
        exported={cell: result for cell, result in exported.items() if cell in cells},
    )


def _plain_task(plan: Plan, unit: Unit) -> UnitTask:
    settings = plan.settings
    return UnitTask(unit=unit, store=settings.store, trust=settings.trust, threads=settings.cluster.threads_per_worker)


@contextmanager
def _recorded_end(folder: RunFolder) -> Iterator[None]:
    """A run that is ended from outside says so in its ledger, and its reports show what was finished."""
    try:
        yield
    except InterruptedRunError as error:
        folder.close(RunStatus.INTERRUPTED)
        how = f"python -m orchestrator resume {terminal.shown(folder.path)}"
        raise InterruptedRunError(f"{error} Go on with: {how}") from error
    except KeyboardInterrupt:
        folder.close(RunStatus.INTERRUPTED)
        raise
    except OrchestratorError:
        folder.close(RunStatus.REFUSED)
        raise
