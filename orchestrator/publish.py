"""Publishes what a run found good to a stable folder: per model a version that appears in one step, manifest included.

    FOLDER/resnet50 → .versions/resnet50/<run_id>/      float32/dynamo-opset20.onnx …  SHA256SUMS  manifest.json

A reader that opens a file through the link gets it from the old version or from the new one; one that needs several files of
one version resolves the link once. Signing, and copying elsewhere, are not done here.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import msgspec

from orchestrator import layout, runs
from orchestrator.deliver import checksums, sums_text
from orchestrator.report.summary import CellReport, Report, delivered_graphs, outcomes, summarise
from orchestrator.result import Status, ValueInfo
from orchestrator.spec import Plan
from orchestrator.statement import statements
from orchestrator.store.blobs import BlobStore
from orchestrator.store.disk import DISK, make_folder, point, refusals, replace_durably
from orchestrator.store.ledger import Record

SCHEMA_VERSION = 1
"""Of the manifest."""
VERSIONS = ".versions"
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """An artifact in a manifest."""

    path: str
    """Of the graph, relative to the manifest."""
    sha256: str
    opset: int | None
    exporter: str
    dtype: str
    targets: tuple[str, ...]
    """That it passed on."""
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a published version of a model is."""

    schema_version: int
    model: str
    run: str
    """Identifier of the run that it is from."""
    versions: Mapping[str, str]
    """Of the tools."""
    artifacts: tuple[Published, ...]
    files: Mapping[str, str]
    """All files but this one and the checksums → SHA-256, by path relative to the manifest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a model."""

    model: str
    """Name of its folder: with other swept keys appended as `,key=value`."""
    published: bool
    """False: what was published before stands."""
    withheld: bool = False
    """The run has a reason not to publish it."""
    message: str
    """Why, or where."""


def publish(plan: Plan, records: Sequence[Record], folder: Path, keep: int) -> Iterator[Outcome]:
    """Publish the models of a run whose cells all ended as expected, one after the other.

    Args:
        plan: Of the run.
        records: Its ledger; the run reached its end.
        folder: Where models are published.
        keep: Versions of a model that stay, the one that is published now included.

    Raises:
        StorageError: the disk refused, or the store has lost or damaged something; the model's old version stands.
    """
    # What came from the cache belongs to a version too, whether or not the run folder has it.
    plan = replace(plan, settings=replace(plan.settings, deliver="all"))
    report = summarise(plan, records)
    models = _models(plan, records, report)
    for model, cells in _cells(plan, report).items():
        bad = [cell.id for cell in cells if not cell.expected]
        if bad:
            yield Outcome(model=model, published=False, withheld=True, message=f"{bad[0]}{_more(bad)} did not end as expected")
        elif model not in models:
            yield Outcome(model=model, published=False, message="it has no artifact that passed")
        else:
            yield _publish(plan, report, folder, model, models[model], keep)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Model:
    """The files of a version, by path relative to it."""

    blobs: Mapping[str, str]
    """Files in the store → SHA-256."""
    texts: Mapping[str, bytes]
    """Files that are written."""
    artifacts: tuple[Published, ...]


def _cells(plan: Plan, report: Report) -> dict[str, list[CellReport]]:
    """The cells of each model that were to be done."""
    places = layout.graph_paths(plan)
    found: dict[str, list[CellReport]] = defaultdict(list)
    for cell in report.cells:
        if cell.status is not Status.SKIPPED or not cell.expected:
            found[_model(places[cell.id])].append(cell)
    return found


def _models(plan: Plan, records: Sequence[Record], report: Report) -> dict[str, _Model]:
    results = outcomes(records)
    delivered = delivered_graphs(plan, results.values())
    proofs = statements(plan, records)
    blobs: dict[str, dict[str, str]] = defaultdict(dict)
    texts: dict[str, dict[str, bytes]] = defaultdict(dict)
    for folder, sums in checksums(plan, results.values()).items():
        for name, sha256 in sums.items():
            blobs[_model(folder)][_inside(folder / name)] = sha256
        texts[_model(folder)][_inside(folder / layout.SUMS)] = sums_text(sums)
    for path in delivered:
        statement = layout.statement_path(path)
        texts[_model(path)][_inside(statement)] = proofs[statement]
    listed = _artifacts(plan, report, delivered)
    return {name: _Model(blobs=blobs[name], texts=texts[name], artifacts=tuple(listed[name])) for name in listed}


def _artifacts(plan: Plan, report: Report, delivered: Mapping[PurePosixPath, str]) -> dict[str, list[Published]]:
    places = layout.graph_paths(plan)
    passed: dict[PurePosixPath, list[CellReport]] = defaultdict(list)
    for cell in report.cells:
        if cell.status is Status.PASSED and places[cell.id] in delivered:
            passed[places[cell.id]].append(cell)
    found: dict[str, list[Published]] = defaultdict(list)
    for path, cells in passed.items():
        first = cells[0]
        assert first.artifact, "it passed"
        found[_model(path)].append(
            Published(
                path=_inside(path),
                sha256=delivered[path],
                opset=first.opset_actual,
                exporter=first.exporter,
                dtype=first.dtype,
                targets=tuple(cell.target for cell in cells),
                inputs=first.artifact.inputs,
                outputs=first.artifact.outputs,
            )
        )
    return found


def _publish(plan: Plan, report: Report, folder: Path, name: str, model: _Model, keep: int) -> Outcome:
    link, version = folder / name, folder / VERSIONS / name / report.run.run_id
    if _is_published(link, model):
        return Outcome(model=name, published=False, message=f"nothing of it changed since {_current(link)}")
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        model=name,
        run=report.run.run_id,
        versions=report.run.versions,
        artifacts=model.artifacts,
        files=model.blobs,
    )
    # What a killed publisher left; what the link shows is another, or there would be nothing to do.
    with refusals(version):
        shutil.rmtree(version, ignore_errors=True)
    _write(BlobStore(Path(plan.settings.store)), version, model, manifest)
    point(link, os.path.relpath(version, link.parent), DISK)
    _forget(version.parent, keep, version.name)
    return Outcome(model=name, published=True, message=str(link))


def _write(store: BlobStore, version: Path, model: _Model, manifest: Manifest) -> None:
    """Everything of a version, synced; the manifest last, so that one that is there is whole."""
    for name, sha256 in model.blobs.items():
        with refusals(version):
            make_folder((version / name).parent)
        store.get(sha256, version / name)
        _sync(version / name)
    for name, data in model.texts.items():
        replace_durably(version / name, data)
    replace_durably(version / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")


def _sync(path: Path) -> None:
    with refusals(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            DISK.sync(descriptor)
        finally:
            os.close(descriptor)
        DISK.sync_folder(path.parent)


def _is_published(link: Path, model: _Model) -> bool:
    try:
        manifest = msgspec.json.decode((link / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return False
    return manifest.files == model.blobs and all((link / name).is_file() for name in manifest.files)


def _current(link: Path) -> str:
    return link.resolve().name


def _forget(versions: Path, keep: int, current: str) -> None:
    """Remove the oldest versions but for the one that is published."""
    old = sorted(folder.name for folder in versions.iterdir() if folder.name != current and runs.RUN_ID.fullmatch(folder.name))
    for name in old[: max(0, len(old) - (keep - 1))]:
        with refusals(versions / name):
            shutil.rmtree(versions / name)


def _model(path: PurePosixPath) -> str:
    return path.parts[1]


def _inside(path: PurePosixPath) -> str:
    """A path of the run folder as one in the folder of its model."""
    return PurePosixPath(*path.parts[2:]).as_posix()


def _more(cells: Sequence[str]) -> str:
    return f" and {len(cells) - 1} more" if len(cells) > 1 else ""
