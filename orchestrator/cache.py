"""What of a plan need not be done: cells whose verdict still holds, and artifacts that only have to be verified again.

Decides by keys alone, without torch; what keys consist of is `orchestrator.keys`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from orchestrator.keys.cells import Key
from orchestrator.keys.explain import why
from orchestrator.report.expected import issues, judge
from orchestrator.result import CellResult, Origin, Status
from orchestrator.spec import Cell, Plan, Unit
from orchestrator.store.blobs import BlobStore
from orchestrator.store.index import Index

LASTING = (Status.PASSED, Status.CHECK_FAILED, Status.EXPORT_FAILED)
"""Outcomes that the same keys will have again; crashes, deadlines and the like are the machine's too."""
FORCED = "force=true"
LOST = "the store has lost what it kept"


class KeyMaker(Protocol):
    """What `keys.cells.Keys` does."""

    def export_key(self, unit: Unit, cell: Cell) -> Key:
        """Of all that decides an artifact's bytes."""
        ...

    def verify_key(self, unit: Unit, cell: Cell, export: Key, *, threads: int) -> Key:
        """Of all that decides a verdict."""
        ...

    def answers_key(self, unit: Unit, *, threads: int) -> Key:
        """Of all that decides what eager answers on the probes."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What the store knows of a plan."""

    hits: tuple[CellResult, ...]
    """Outcomes that hold; nothing is to be done for these cells."""
    exported: Mapping[str, CellResult]
    """By cell, outcomes whose artifact only has to be verified again."""


class Cache:
    """The keys of a plan's cells, and the index that they are looked up in."""

    def __init__(self, plan: Plan, keys: KeyMaker, done: Collection[str] = ()) -> None:
        """Remember what to look up.

        Args:
            plan: Of the run.
            keys: Makes keys.
            done: Cells that have an outcome already.
        """
        self._plan, self._done = plan, done
        self._index = Index(Path(plan.settings.store))
        self._blobs = BlobStore(Path(plan.settings.store))
        self._keys: dict[str, tuple[Key, Key]] = {}
        self._why: dict[str, str | None] = {}
        self._maker = keys

    def look_up(self, today: str) -> Known:
        """Compute all keys and look them up.

        Args:
            today: ISO date, by which known issues expire.
        """
        hits, exported = [], {}
        for unit, cell in self._open():
            export = self._maker.export_key(unit, cell)
            verify = self._maker.verify_key(unit, cell, export, threads=self._plan.settings.cluster.threads_per_worker)
            self._keys[cell.id] = export, verify
            if hit := self._hit(unit, cell, verify, today):
                hits.append(self.with_keys(hit))
            elif earlier := self._exported(cell, export):
                exported[cell.id] = earlier
            else:
                forced = self._plan.settings.force
                self._why[cell.id] = FORCED if forced else why(self._index.last(cell.id), export.parts)
        return Known(hits=tuple(hits), exported=exported)

    def with_keys(self, result: CellResult) -> CellResult:
        """The outcome with its keys, and with why it was exported if it was."""
        export, verify = self._keys[result.cell]
        why_exported = self._why.get(result.cell)
        return replace(result, export_key=export.digest, verify_key=verify.digest, why_exported=why_exported)

    def answers_key(self, unit: Unit) -> str:
        """Digest of the key under which eager's answers are shared; empty where the run ignores what is known."""
        if self._plan.settings.force:
            return ""
        return self._maker.answers_key(unit, threads=self._plan.settings.cluster.threads_per_worker).digest

    def missed(self, cell: str) -> None:
        """A hit could not be handed out: the cell is done after all."""
        self._why[cell] = LOST

    def remember(self, result: CellResult) -> None:
        """Keep an outcome for later runs, once it is on record.

        Raises:
            StorageError: the disk refused.
        """
        export, verify = self._keys[result.cell]
        self._keep(result, export.digest, verify.digest)
        if _lasts(result) or result.artifact is not None:
            self._index.put_last(result.cell, export.parts)

    def remember_kept(self, results: Iterable[CellResult]) -> None:
        """Keep outcomes from before a run was resumed: the driver may have been killed when one was just on record.

        Raises:
            StorageError: the disk refused.
        """
        for result in results:
            export, verify = result.export_key, result.verify_key
            if export and verify and self._index.verdict(verify) is None:
                self._keep(result, export, verify)

    def _keep(self, result: CellResult, export: str, verify: str) -> None:
        if result.artifact is not None:
            self._index.put_exported(export, result)
        if _lasts(result):
            self._index.put_verdict(verify, result)

    def _open(self) -> Iterator[tuple[Unit, Cell]]:
        return (
            (unit, cell) for unit in self._plan.units for cell in unit.cells if cell.skip is None and cell.id not in self._done
        )

    def _hit(self, unit: Unit, cell: Cell, verify: Key, today: str) -> CellResult | None:
        """An outcome that holds; one that nobody expects is tried again."""
        result = None if self._plan.settings.force else self._index.verdict(verify.digest)
        if result is None or not self._there(result):
            return None
        if not judge(cell.id, result.status, issues(self._plan, unit), today).expected:
            return None
        return replace(result, cell=cell.id, origin=Origin.CACHE, attempts=1, durations={}, peak_memory=None)

    def _exported(self, cell: Cell, export: Key) -> CellResult | None:
        result = None if self._plan.settings.force else self._index.exported(export.digest)
        return replace(result, cell=cell.id) if result and self._there(result) else None

    def _there(self, result: CellResult) -> bool:
        """Whether the store has all files; their bytes are looked at when they are handed out."""
        return all(self._blobs.use(file.sha256) for file in result.files)


def _lasts(result: CellResult) -> bool:
    untrusted = result.error is not None and result.error.kind == "untrusted"
    return result.status in LASTING and not untrusted
