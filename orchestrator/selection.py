"""Which of the declared cells are wanted now: `select`, `skip` and `only`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from orchestrator.errors import UserError
from orchestrator.plan import identifier
from orchestrator.report.summary import CellReport
from orchestrator.result import Status
from orchestrator.spec import RunSpec


def select(spec: RunSpec, newest: Mapping[str, CellReport] | None) -> RunSpec:
    """The spec with the wanted cells only.

    Args:
        spec: What the user asked for.
        newest: How the cells of the newest run ended, for `only`; None if there was no run.

    Raises:
        UserError: A pattern of `select` matches nothing, there is no run for `only`, or nothing is left.
    """
    selection, names = spec.selection, [identifier(request) for request in spec.requests]
    if problems := [_matches_nothing(pattern, names) for pattern in selection.select if not _any(names, pattern)]:
        raise UserError(*problems)
    if selection.only and newest is None:
        raise UserError(f"only={selection.only}: there is no earlier run in {spec.settings.runs}")
    wanted = {
        name
        for name in names
        if (not selection.select or _matched(name, selection.select))
        and not _matched(name, selection.skip)
        and (selection.only is None or _ended(name, selection.only, newest or {}))
    }
    if not wanted:
        raise UserError(f"{_typed(spec)}: leaves none of the {len(set(names))} cells")
    return replace(
        spec,
        requests=tuple(request for request, name in zip(spec.requests, names, strict=True) if name in wanted),
        warnings=(*spec.warnings, *(f"skip: '{p}' matches no cell" for p in selection.skip if not _any(names, p))),
    )


def _ended(name: str, only: str, newest: Mapping[str, CellReport]) -> bool:
    """A cell that the newest run did not have is not meant."""
    cell = newest.get(name)
    if cell is None:
        return False
    return {"failed": not cell.expected, "not_passed": cell.status is not Status.PASSED}.get(only, cell.status == only)


def _matched(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _any(names: Sequence[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _matches_nothing(pattern: str, names: Sequence[str]) -> str:
    return f"select: '{pattern}' matches none of the {len(set(names))} cells; they are called as {names[0]}"


def _typed(spec: RunSpec) -> str:
    """What the user narrowed the batch by."""
    selection = spec.selection
    lists = [f"{key}=[{','.join(value)}]" for key, value in (("select", selection.select), ("skip", selection.skip)) if value]
    return " ".join([*lists, *([f"only={selection.only}"] if selection.only else [])])
