"""The baseline: per cell what was last accepted, kept durably beside the runs, and whether a run is worse than that.

What is compared, `history.compare` measures; what of it is red, the rules of the run say. Latency is not compared: it is
measured on request only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from orchestrator.errors import EnvironmentRefusedError
from orchestrator.history.compare import Snapshot, error, lost_axes, new_operators, size, snapshot
from orchestrator.report.summary import CellReport, Report
from orchestrator.result import FileRef, Regression, Rule, Status
from orchestrator.spec import BaselineRules, Plan
from orchestrator.store.disk import refusals, replace_durably
from orchestrator.store.ledger import BaselineCompared

NAME = "baseline.json"
"""In the folder of all runs."""
SCHEMA_VERSION = 1
AS_EXACT_AS_EAGER = 1 / 8
"""Share of the bound up to which an error is what eager PyTorch itself is off: the bound is eight times that, see verify.k."""
NO_OUTCOME = (Status.SKIPPED, Status.UNVERIFIED, Status.INFRA_ERROR)
"""Statuses that say nothing of the artifact."""
WITHOUT_CELLS = (
    *("baseline", "cluster", "deliver", "force", "limits", "mlflow"),
    *("plan", "require_targets", "store", "terminal", "trust", "verify"),
)
"""Keys of the command line that do not choose cells."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """What was accepted of a cell."""

    run: str
    """Identifier of the run that it is from."""
    scope: tuple[str, ...]
    """What of that run's command line chose its cells."""
    outcome: Snapshot
    files: tuple[FileRef, ...] = ()
    """Of its artifact and what was kept with it; a garbage collection leaves them alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """All that was accepted in a folder of runs."""

    schema_version: int = SCHEMA_VERSION
    cells: Mapping[str, Accepted] = field(default_factory=dict)
    """By identifier."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Acceptance:
    """What became of the cells of a run."""

    accepted: tuple[str, ...]
    dropped: tuple[str, ...]
    """Cells of the baseline that the same command does not have any more."""
    refused: Mapping[str, str]
    """Cells that cannot be accepted → why."""


def read(runs: Path) -> Baseline:
    """The baseline of a folder of runs; an empty one if nothing was ever accepted.

    Raises:
        EnvironmentRefusedError: it is damaged, or of a newer version of us.
    """
    path = runs / NAME
    try:
        with refusals(path):
            found = msgspec.json.decode(path.read_bytes(), type=Baseline) if path.exists() else Baseline()
    except (msgspec.MsgspecError, UnicodeDecodeError) as failure:
        raise EnvironmentRefusedError(
            f"{path} is damaged: {failure}. Restore it from a copy, or delete it and accept a good run again."
        ) from failure
    if found.schema_version != SCHEMA_VERSION:
        raise EnvironmentRefusedError(f"{path} has schema {found.schema_version}, this version {SCHEMA_VERSION}.")
    return found


def write(runs: Path, baseline: Baseline) -> None:
    """Replace the baseline of a folder of runs, in one step and synced.

    Raises:
        StorageError: the disk refused.
    """
    replace_durably(runs / NAME, msgspec.json.format(msgspec.json.encode(baseline)) + b"\n")


def accept(
    before: Baseline, plan: Plan, report: Report, files: Mapping[str, tuple[FileRef, ...]], patterns: Sequence[str]
) -> tuple[Baseline, Acceptance]:
    """The baseline with the outcomes of a run.

    Args:
        before: What was accepted until now.
        plan: Of the run.
        report: Of the run, which reached its end.
        files: Of each cell, what of it is in the store.
        patterns: On identifiers, which cells are meant; all if it is empty.

    Returns:
        The new baseline, and what became of the cells.
    """
    rows = {cell.id: cell for cell in report.cells if _matched(cell.id, patterns)}
    refused = {name: why for name, row in rows.items() if (why := _refusal(row))}
    own = scope(plan.settings.overrides)
    planned = {cell.id for cell in report.cells}
    dropped = tuple(
        name for name, old in before.cells.items() if name not in planned and old.scope == own and _matched(name, patterns)
    )
    accepted = {
        name: Accepted(run=report.run.run_id, scope=own, outcome=snapshot(row), files=files.get(name, ()))
        for name, row in rows.items()
        if name not in refused
    }
    kept = {name: old for name, old in before.cells.items() if name not in dropped}
    told = Acceptance(accepted=tuple(accepted), dropped=dropped, refused=refused)
    return Baseline(cells=kept | accepted), told


def compare(accepted: Baseline, plan: Plan, report: Report) -> BaselineCompared | None:
    """What of a run is worse than what was accepted; None if nothing of it was, or the run is not to be compared.

    Args:
        accepted: What was accepted before.
        plan: Of the run; its settings have the rules.
        report: Of the run, all of whose cells have their outcome.
    """
    rules = plan.settings.baseline
    own = scope(plan.settings.overrides)
    rows = {cell.id: cell for cell in report.cells}
    missing = {name: old for name, old in accepted.cells.items() if name not in rows and old.scope == own}
    known = {name: old for name, old in accepted.cells.items() if name in rows}
    if not rules.compare or not (known or missing):
        return None
    found = [
        Regression(cell=name, rule=rule, message=message)
        for name, old in known.items()
        for rule, message in _worse(old, rows[name], rules, own)
    ]
    if rules.gone:
        found += [
            Regression(
                cell=name, rule=Rule.GONE, message=f"it was {old.outcome.status} in {old.run}, and is not planned any more"
            )
            for name, old in missing.items()
        ]
    return BaselineCompared(compared=len(known), regressions=tuple(found))


def files(folders: Collection[Path]) -> set[str]:
    """Digests of all that was accepted in folders of runs.

    Raises:
        EnvironmentRefusedError: a baseline is damaged: what it needs is not known, so that nothing may go.
    """
    return {file.sha256 for folder in folders for cell in read(folder).cells.values() for file in cell.files}


def scope(overrides: Sequence[str]) -> tuple[str, ...]:
    """What of a command line chooses cells: two runs with the same one are meant to have the same cells."""
    return tuple(sorted(text for text in overrides if _key(text) not in WITHOUT_CELLS))


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0].partition(".")[0]


def _refusal(row: CellReport) -> str | None:
    """Why an outcome cannot be what others are compared with."""
    if row.status in NO_OUTCOME:
        return f"it is {row.status}: {row.reason}" if row.reason else f"it is {row.status}"
    if row.status is not Status.PASSED and not row.expected:
        return f"it is {row.status}, and no known issue says so"
    return None


def _worse(old: Accepted, row: CellReport, rules: BaselineRules, own: tuple[str, ...]) -> Iterator[tuple[Rule, str]]:
    if row.status is Status.SKIPPED:
        if rules.gone and old.scope == own:
            yield Rule.GONE, f"it was {old.outcome.status} in {old.run}, and is skipped: {row.reason}"
    elif row.status is not Status.PASSED:
        if not row.expected and row.status is not old.outcome.status:
            yield Rule.NEW_FAILURE, f"it was {old.outcome.status} in {old.run}"
    elif old.outcome.status is Status.PASSED:
        yield from (
            (rule, f"{message}; accepted in {old.run}") for rule, message in _degraded(old.outcome, snapshot(row), rules)
        )


def _degraded(old: Snapshot, new: Snapshot, rules: BaselineRules) -> Iterator[tuple[Rule, str]]:
    """What of an artifact that passed is worse than what passed before."""
    if rules.interface:
        yield from ((Rule.INTERFACE, message) for message in lost_axes(old, new))
    if rules.operators and (names := new_operators(old, new)):
        yield Rule.OPERATORS, f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} not in the graph"
    for check, before in (old.errors or {}).items() if rules.error is not None else ():
        now = (new.errors or {}).get(check, 0.0)
        if now >= (rules.error or 1) * max(before, AS_EXACT_AS_EAGER):
            yield Rule.ERROR, error(check, before, now)
    if rules.size is not None and old.bytes and new.bytes and new.bytes - old.bytes >= rules.size * old.bytes:
        yield Rule.SIZE, size(old.bytes, new.bytes)


def _matched(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
