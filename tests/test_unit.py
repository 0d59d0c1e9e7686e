from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exporters import registry
from exporters.base import CaptureError, Dim, Emission, Progress, Step, TensorSpec
from orchestrator import unit
from orchestrator.errors import StorageError
from orchestrator.keys import surroundings
from orchestrator.result import CellFinished, CellResult, Event, Stage, StageStarted, Status
from orchestrator.spec import BuildSpec, ModelSpec, OutputSpec, UnitTask, VerifyLevel, VerifySpec, WeightsSpec
from orchestrator.store.blobs import BlobStore
from orchestrator.store.index import Index
from orchestrator.verify import reference
from orchestrator.verify.registry import CHECKS
from tests import synthetic
from tests.declared import OPTIONS

MODEL = ModelSpec(
    name="tiny",
    build=BuildSpec(target="torch.nn.Linear", arguments={"in_features": 4, "out_features": 3}),
    weights=WeightsSpec(seed=0),
    dims={"batch": Dim(name="batch", min=1, max=16)},
    inputs=(TensorSpec(name="features", shape=("batch", 4), dtype="float32", generator="uniform", range=(-1, 1)),),
    outputs=(OutputSpec(name="logits"),),
)


@pytest.fixture
def task(tmp_path: Path) -> UnitTask:
    wanted = replace(synthetic.unit("tiny", "torchscript", opsets=(18, 20)), model=MODEL)
    wanted = replace(wanted, exporter=replace(wanted.exporter, options=OPTIONS["torchscript"]))
    return UnitTask(unit=wanted, store=str(tmp_path / "store"), trust=(), threads=1)


def run(task: UnitTask, tmp_path: Path) -> list[Event]:
    scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=tmp_path))
    return list(unit.run(task, scratch))


def results(events: list[Event]) -> dict[str, CellResult]:
    return {event.result.cell: event.result for event in events if isinstance(event, CellFinished)}


def model(task: UnitTask, **changed: Any) -> UnitTask:
    return replace(task, unit=replace(task.unit, model=replace(task.unit.model, **changed)))


def with_exporter(monkeypatch: pytest.MonkeyPatch, function: Any) -> None:
    monkeypatch.setattr(registry, "EXPORTERS", {"torchscript": function})
    monkeypatch.setattr(unit, "EXPORTERS", {"torchscript": function})


def test_a_unit_tells_its_stages_and_ends_each_cell_with_a_verdict(task: UnitTask, tmp_path: Path) -> None:
    events = run(task, tmp_path)
    told = [(e.cell, e.stage) if isinstance(e, StageStarted) else (e.result.cell, e.result.status) for e in events]
    first, second = (f"tiny-torchscript-opset{opset}-float32-cpu" for opset in (18, 20))
    assert told == [
        (None, Stage.BUILD),
        (None, Stage.REFERENCE),
        (None, Stage.CAPTURE),
        *[(second, stage) for stage in (Stage.EMIT, Stage.VERIFY)],
        (second, Status.PASSED),
        *[(first, stage) for stage in (Stage.EMIT, Stage.VERIFY)],
        (first, Status.PASSED),
    ]


def test_what_depends_on_the_graph_alone_is_verified_once(task: UnitTask, tmp_path: Path) -> None:
    found = results(run(task, tmp_path))
    first, second = (found[f"tiny-torchscript-opset{opset}-float32-cpu"] for opset in (20, 18))
    assert all(check.shared_with is None for check in first.checks)
    assert {check.id: check.shared_with for check in second.checks} == {
        check.id: first.cell if CHECKS[check.id].shared else None for check in first.checks
    }
    assert {check.id: check.status for check in first.checks} == {check.id: check.status for check in second.checks}


def test_eager_is_asked_once_for_all_units_of_a_model(task: UnitTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = reference.answer
    monkeypatch.setattr(reference, "answer", lambda module, model, *rest: asked.append(model.name) or ask(module, model, *rest))
    keyed = replace(task, answers="ab" * 32)
    first, second = (results(run(keyed, tmp_path)) for _ in range(2))
    assert asked == ["tiny"]
    assert [[(c.id, c.status, c.measured) for c in one.checks] for one in first.values()] == [
        [(c.id, c.status, c.measured) for c in one.checks] for one in second.values()
    ]
    results(run(task, tmp_path))
    assert len(asked) == 2, "without a key nothing is recalled"


def test_answers_that_the_store_lost_are_asked_for_again(task: UnitTask, tmp_path: Path) -> None:
    keyed = replace(task, answers="ab" * 32)
    run(keyed, tmp_path)
    kept = Index(Path(task.store)).answers(keyed.answers)
    assert kept is not None
    next(Path(task.store).rglob(f"*{kept.sha256[4:]}*")).write_bytes(b"damaged")
    assert {result.status for result in results(run(keyed, tmp_path)).values()} == {Status.PASSED}


def test_why_an_opset_shares_nothing_is_told(task: UnitTask, tmp_path: Path) -> None:
    half = replace(task, unit=replace(task.unit, dtype="float16"))
    for result in results(run(half, tmp_path)).values():
        (finding,) = (finding for finding in result.findings if finding.kind == "exported_alone")
        assert "float16 tensors" in finding.message


def test_what_lasts_is_in_the_store(task: UnitTask, tmp_path: Path) -> None:
    result = results(run(task, tmp_path))["tiny-torchscript-opset20-float32-cpu"]
    assert result.artifact is not None
    assert result.artifact.opset == 20
    names = [file.name for file in result.attachments]
    assert names == ["sources.json", "test_data_set_0/input_0.pb", "test_data_set_0/output_0.pb"]
    store = BlobStore(Path(task.store))
    assert all(store.has(file.sha256) for file in (*result.artifact.files, *result.attachments))
    assert result.durations.keys() == {*Stage, "total"}
    assert {check.id for check in result.checks} >= {"delivery", "structure", "interface", "parity", "shapes"}


def test_events_cross_a_process_border_as_json(task: UnitTask, tmp_path: Path) -> None:
    events = run(task, tmp_path)
    assert [msgspec.json.decode(msgspec.json.encode(event), type=Event) for event in events] == events  # type: ignore[arg-type]
    assert msgspec.json.decode(msgspec.json.encode(task), type=UnitTask) == task


def test_cells_that_are_done_or_skipped_are_left_out(task: UnitTask, tmp_path: Path) -> None:
    done = replace(task, done=("tiny-torchscript-opset18-float32-cpu",))
    assert results(run(done, tmp_path)).keys() == {"tiny-torchscript-opset20-float32-cpu"}


def test_two_targets_share_one_export(task: UnitTask, tmp_path: Path) -> None:
    other = replace(synthetic.CPU, name="elsewhere")
    cells = tuple(
        replace(cell, target=target, id=f"{cell.opset}-{target.name}")
        for cell in task.unit.cells
        for target in (synthetic.CPU, other)
    )
    events = run(replace(task, unit=replace(task.unit, cells=cells)), tmp_path)
    assert len(results(events)) == 4
    assert sum(isinstance(e, StageStarted) and e.stage is Stage.CAPTURE for e in events) == 1


def test_without_verification_a_cell_is_unverified_and_has_no_reference(task: UnitTask, tmp_path: Path) -> None:
    off = replace(task, unit=replace(task.unit, verify=VerifySpec(level=VerifyLevel.OFF, seed=0, k=8.0)))
    events = run(off, tmp_path)
    assert {result.status for result in results(events).values()} == {Status.UNVERIFIED}
    assert not any(isinstance(e, StageStarted) and e.stage is Stage.REFERENCE for e in events)


def test_a_factory_that_raises_fails_all_cells_in_build_with_its_own_message(task: UnitTask, tmp_path: Path) -> None:
    broken = model(task, build=BuildSpec(target="torch.nn.Linear", arguments={"in_features": -4, "out_features": 3}))
    found = results(run(broken, tmp_path))
    assert [result.status for result in found.values()] == [Status.EXPORT_FAILED] * 2
    (error,) = {result.error.message for result in found.values() if result.error}
    assert "negative dimension" in error
    assert all(result.error and result.error.stage is Stage.BUILD for result in found.values())


def test_an_untrusted_factory_is_not_called(task: UnitTask, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    hostile = model(task, build=BuildSpec(target="subprocess.run", arguments={"args": ["touch", str(canary)]}))
    found = results(run(hostile, tmp_path))
    assert not canary.exists()
    assert [(r.status, r.error.kind if r.error else "") for r in found.values()] == [(Status.EXPORT_FAILED, "untrusted")] * 2


def test_a_model_that_raises_on_its_example_fails_in_reference(task: UnitTask, tmp_path: Path) -> None:
    narrow = model(task, inputs=(replace(MODEL.inputs[0], shape=("batch", 5)),))
    (first, *_) = results(run(narrow, tmp_path)).values()
    assert first.status is Status.EXPORT_FAILED
    assert first.error
    assert first.error.stage in (Stage.BUILD, Stage.REFERENCE)


def test_an_opset_that_raises_costs_its_own_cells_only(task: UnitTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = registry.EXPORTERS["torchscript"]

    def export(module: Any, example: Any, dims: Any, opsets: Any, options: Any, folder: Path) -> Iterator[Progress | Emission]:
        for opset in opsets:
            if opset == 18:
                yield Progress(step=Step.CAPTURE, opset=18)
                raise ValueError("no such opset")
            yield from real(module, example, dims, [opset], options, folder)

    with_exporter(monkeypatch, export)
    found = results(run(task, tmp_path))
    assert [(r.status, r.reason) for r in found.values()] == [
        (Status.EXPORT_FAILED, "capture: no such opset"),
        (Status.PASSED, ""),
    ]


def test_a_capture_that_cannot_succeed_fails_every_opset_at_once(
    task: UnitTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def export(module: Any, example: Any, dims: Any, opsets: Any, options: Any, folder: Path) -> Iterator[Progress | Emission]:  # noqa: ARG001
        calls.append(opsets)
        yield Progress(step=Step.CAPTURE, opset=None)
        raise CaptureError("data-dependent")

    with_exporter(monkeypatch, export)
    assert [r.status for r in results(run(task, tmp_path)).values()] == [Status.EXPORT_FAILED] * 2
    assert calls == [(18, 20)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(StorageError("io", "disk gone"), "io"), (OSError(errno.ENOSPC, "No space left on device"), "disk_full")],
)
def test_a_disk_that_refuses_is_the_machines_fault(
    task: UnitTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(BlobStore, "put_file", refuse)
    (first, *_) = results(run(task, tmp_path)).values()
    assert (first.status, first.error.kind if first.error else "") == (Status.INFRA_ERROR, kind)


def test_an_artifact_that_is_in_the_store_is_verified_and_not_exported_again(task: UnitTask, tmp_path: Path) -> None:
    first = "tiny-torchscript-opset18-float32-cpu"
    earlier = results(run(task, tmp_path))[first]
    (tmp_path / "again").mkdir()
    stricter = replace(task, unit=replace(task.unit, verify=replace(task.unit.verify, seed=5)), exported={first: earlier})
    events = run(stricter, tmp_path / "again")
    stages = [event.stage for event in events if isinstance(event, StageStarted) and event.cell == first]
    assert stages == [Stage.VERIFY]
    again = results(events)[first]
    assert (again.status, again.artifact) == (Status.PASSED, earlier.artifact)
    assert again.checks != earlier.checks
    assert results(events)["tiny-torchscript-opset20-float32-cpu"].status is Status.PASSED


def test_an_artifact_that_the_store_has_lost_costs_its_cell(task: UnitTask, tmp_path: Path) -> None:
    first = "tiny-torchscript-opset18-float32-cpu"
    earlier = results(run(task, tmp_path))[first]
    (tmp_path / "again").mkdir()
    lost = replace(task, store=str(tmp_path / "other store"), exported={first: earlier})
    result = results(run(lost, tmp_path / "again"))[first]
    assert (result.status, result.error and result.error.kind) == (Status.INFRA_ERROR, "missing")


def test_a_worker_with_other_tools_refuses_its_cells(task: UnitTask, tmp_path: Path) -> None:
    found = results(run(replace(task, tools="of another machine"), tmp_path))
    assert {(result.status, result.error and result.error.kind) for result in found.values()} == {
        (Status.INFRA_ERROR, "wrong_tools")
    }
    assert len(found) == 2


def test_a_worker_with_the_tools_of_the_keys_does_them(task: UnitTask, tmp_path: Path) -> None:
    found = results(run(replace(task, tools=surroundings.fingerprint()), tmp_path))
    assert {result.status for result in found.values()} == {Status.PASSED}
