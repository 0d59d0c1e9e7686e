from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cache import FORCED, LOST, Cache, Known
from orchestrator.keys.cells import Key
from orchestrator.result import Artifact, CellError, CellResult, FileRef, Origin, Stage, Status
from orchestrator.spec import Cell, KnownIssue, Plan, Unit
from orchestrator.store.blobs import BlobStore
from tests import synthetic

CELL = "resnet50-dynamo-opset20-float32-cpu"
TODAY = "2026-01-02"


@dataclass
class FakeKeys:
    """Keys of what the test says that they depend on."""

    torch: str = "2.15.0"
    level: str = "standard"
    threads: list[int] = field(default_factory=list)

    def export_key(self, unit: Unit, cell: Cell) -> Key:
        parts: dict[str, Any] = {"tools": {"torch": self.torch}, "model": unit.model.name, "opset": cell.opset}
        return Key(digest=digest(repr(parts)), parts=parts)

    def answers_key(self, unit: Unit, *, threads: int) -> Key:
        return Key(digest=digest(f"{unit.model.name} {threads}"), parts={})

    def verify_key(self, unit: Unit, cell: Cell, export: Key, *, threads: int) -> Key:  # noqa: ARG002
        self.threads.append(threads)
        parts = {"export": export.digest, "level": self.level}
        return Key(digest=digest(repr(parts)), parts=parts)


def digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return synthetic.plan(synthetic.unit(), store=str(tmp_path / "store"))


def kept(plan: Plan, status: Status = Status.PASSED, **changes: Any) -> CellResult:
    """An outcome whose files are in the store."""
    sha256, size = BlobStore(Path(plan.settings.store)).put_bytes(b"graph")
    file = FileRef(name="dynamo-opset20.onnx", sha256=sha256, bytes=size)
    artifact: Artifact | None = synthetic.artifact(file) if status in (Status.PASSED, Status.CHECK_FAILED) else None
    return synthetic.result(CELL, status, artifact=artifact, attachments=(replace(file, name="sources.json"),), **changes)


def remembered(plan: Plan, result: CellResult, keys: FakeKeys | None = None) -> CellResult:
    cache = Cache(plan, keys or FakeKeys())
    cache.look_up(TODAY)
    result = cache.with_keys(result)
    cache.remember(result)
    return result


def look_up(plan: Plan, keys: FakeKeys | None = None) -> tuple[Known, Cache]:
    cache = Cache(plan, keys or FakeKeys())
    return cache.look_up(TODAY), cache


def test_what_nobody_did_is_done_for_the_first_time(plan: Plan) -> None:
    known, cache = look_up(plan)
    assert (known.hits, known.exported) == ((), {})
    result = cache.with_keys(kept(plan))
    assert result.why_exported == "first time"
    assert result.export_key is not None
    assert result.verify_key is not None


def test_an_outcome_under_the_same_keys_is_not_done_again(plan: Plan) -> None:
    done = remembered(plan, kept(plan, attempts=2))
    known, _ = look_up(plan)
    (hit,) = known.hits
    assert (hit.origin, hit.attempts, dict(hit.durations), hit.peak_memory) == (Origin.CACHE, 1, {}, None)
    assert (hit.status, hit.artifact, hit.checks) == (done.status, done.artifact, done.checks)
    assert (hit.export_key, hit.verify_key, hit.why_exported) == (done.export_key, done.verify_key, None)


def test_a_change_that_concerns_the_verdict_only_has_the_artifact_verified_again(plan: Plan) -> None:
    done = remembered(plan, kept(plan))
    known, cache = look_up(plan, FakeKeys(level="strict"))
    assert known.hits == ()
    assert known.exported[CELL].artifact == done.artifact
    assert cache.with_keys(kept(plan)).why_exported is None


def test_a_change_that_concerns_the_export_is_told(plan: Plan) -> None:
    remembered(plan, kept(plan))
    known, cache = look_up(plan, FakeKeys(torch="2.16.0"))
    assert (known.hits, known.exported) == ((), {})
    why = cache.with_keys(kept(plan)).why_exported
    assert why is not None
    assert "torch 2.15.0 → 2.16.0" in why


def test_force_does_everything_again(plan: Plan) -> None:
    remembered(plan, kept(plan))
    known, cache = look_up(replace(plan, settings=replace(plan.settings, force=True)))
    assert (known.hits, known.exported) == ((), {})
    assert cache.with_keys(kept(plan)).why_exported == FORCED


@pytest.mark.parametrize("status", [Status.CRASHED, Status.TIMEOUT, Status.OOM, Status.INFRA_ERROR, Status.UNVERIFIED])
def test_what_the_machine_may_be_to_blame_for_is_done_again(plan: Plan, status: Status) -> None:
    issue = KnownIssue(cells="*", status=status, reason="known")
    plan = replace(plan, known_issues=(issue,))
    remembered(plan, kept(plan, status))
    assert look_up(plan)[0].hits == ()


@pytest.mark.parametrize("status", [Status.EXPORT_FAILED, Status.CHECK_FAILED])
def test_a_failure_holds_as_long_as_it_is_a_known_issue(plan: Plan, status: Status) -> None:
    excused = replace(plan, known_issues=(KnownIssue(cells="*", status=status, reason="known", expires="2026-06-01"),))
    remembered(excused, kept(plan, status))
    assert [hit.status for hit in look_up(excused)[0].hits] == [status]
    assert look_up(plan)[0].hits == ()
    cache = Cache(excused, FakeKeys())
    assert cache.look_up("2026-06-01").hits == ()


def test_what_is_not_trusted_is_asked_again(plan: Plan) -> None:
    excused = replace(plan, known_issues=(KnownIssue(cells="*", status=Status.EXPORT_FAILED, reason="known"),))
    error = CellError(stage=Stage.BUILD, kind="untrusted", message="no")
    remembered(excused, kept(plan, Status.EXPORT_FAILED, error=error))
    assert look_up(excused)[0].hits == ()


def test_an_outcome_whose_files_are_gone_does_not_hold(plan: Plan) -> None:
    done = remembered(plan, kept(plan))
    assert done.artifact is not None
    sha256 = done.artifact.files[0].sha256
    (Path(plan.settings.store) / "blobs" / sha256[:2] / sha256[2:]).unlink()
    known, _ = look_up(plan)
    assert (known.hits, known.exported) == ((), {})


def test_a_hit_that_cannot_be_handed_out_is_done_after_all(plan: Plan) -> None:
    remembered(plan, kept(plan))
    _, cache = look_up(plan)
    cache.missed(CELL)
    assert cache.with_keys(kept(plan)).why_exported == LOST


def test_cells_that_have_an_outcome_already_are_not_looked_up(plan: Plan) -> None:
    remembered(plan, kept(plan))
    assert Cache(plan, FakeKeys(), done={CELL}).look_up(TODAY).hits == ()


def test_the_threads_of_a_worker_are_part_of_a_verdict(plan: Plan) -> None:
    keys = FakeKeys()
    look_up(plan, keys)
    assert keys.threads == [plan.settings.cluster.threads_per_worker]
