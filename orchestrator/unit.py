"""One unit of work from build to verdict, as a stream of events: the one place where an exception becomes a result.

Runs in the process that it is called in; limits and isolation are `sandbox`'s business, where it runs is the scheduler's.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from exporters import graph
from exporters.base import CaptureError, Emission, Example, Progress
from exporters.registry import EXPORTERS
from orchestrator.artifact import described
from orchestrator.build import module as module_builder
from orchestrator.build import translations
from orchestrator.errors import StorageError, WrongToolsError
from orchestrator.keys import surroundings
from orchestrator.result import (
    Artifact,
    CellFinished,
    CellResult,
    Event,
    FileRef,
    Finding,
    Stage,
    StageStarted,
    Status,
)
from orchestrator.spec import Cell, UnitTask, VerifyLevel
from orchestrator.stages import Stages, failure
from orchestrator.store.blobs import BlobStore
from orchestrator.store.index import Index
from orchestrator.verify import probes, recall, reference, verifier
from orchestrator.verify.base import Candidate
from orchestrator.verify.shared import Shared

if TYPE_CHECKING:
    import torch

    from orchestrator.verify.reference import Answers, Reference


EXPORTER_WARNING = "exporter_warning"
"""Kind of the findings that come from the export and not from its verification."""
SOURCES = "sources.json"
ANSWERS = "answers.safetensors"


def run(task: UnitTask, folder: Path) -> Iterator[Event]:
    """Do the unit's work in this process.

    Args:
        task: The unit, and which of its cells already have a verdict.
        folder: An empty scratch folder; what lasts goes to the store.

    Yields:
        A StageStarted before each stage, a CellFinished for every cell that is neither skipped by the plan nor done already.
        An ordinary exception of any stage becomes the result of the cells that the stage worked for.
    """
    with _fewer_collections():
        yield from _UnitRun(task, folder).events()


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Keeps Python's garbage collector from walking all that was imported again and again: a tenth of an export by dynamo."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


class _UnitRun:
    """The state of one unit while it is worked on."""

    def __init__(self, task: UnitTask, folder: Path) -> None:
        self.unit, self.task, self.folder = task.unit, task, folder
        self.store = BlobStore(Path(task.store))
        self.pending = [cell for cell in task.unit.cells if cell.skip is None and cell.id not in task.done]
        self.stages = Stages(self.unit.id, Stage.BUILD)
        self.findings: tuple[Finding, ...] = ()
        self.reference: Reference | None = None
        self.test_data: tuple[FileRef, ...] = ()
        self.stored: dict[str, FileRef] = {}
        self.shared = Shared()
        self.options: Mapping[str, Any] = {}
        """Of the exporter, functions in the place of their names."""

    def events(self) -> Iterator[Event]:
        try:
            yield self.stages.start(Stage.BUILD)
            if self.task.tools not in ("", surroundings.fingerprint()):
                raise WrongToolsError(
                    "this worker has other tools, environment or platform than the plan's keys were made with"
                )
            with self.stages.timed():
                module_builder.use_threads(self.task.threads)
                module = self._build()
                self.options = translations.resolve(self.unit.exporter.options, self.task.trust)
            if self.unit.verify.level is not VerifyLevel.OFF:
                yield self.stages.start(Stage.REFERENCE)
                with self.stages.timed():
                    self._compute_reference(module)
        except Exception as error:
            yield from self._fail(self.pending, error)
            return
        yield from self._verify_again(module)
        yield from self._export(module)

    def _verify_again(self, module: torch.nn.Module) -> Iterator[Event]:
        """The cells whose artifact is in the store already."""
        for cell in [cell for cell in self.pending if cell.id in self.task.exported]:
            yield self.stages.start(Stage.VERIFY, cell.id)
            try:
                with self.stages.timed():
                    result = self._verdict(module, cell, self._again(self.task.exported[cell.id]))
            except Exception as error:
                yield from self._fail([cell], error)
            else:
                yield self._finish(cell, result)

    def _again(self, earlier: CellResult) -> CellResult:
        """An earlier outcome as it was before it was verified, its artifact fetched."""
        assert earlier.artifact is not None
        for file in earlier.artifact.files:
            if not (self.folder / file.name).exists():
                self.store.get(file.sha256, self.folder / file.name)
        return self._unverified(
            earlier.cell,
            earlier.artifact,
            findings=tuple(finding for finding in earlier.findings if finding.kind == EXPORTER_WARNING),
            sources=next(file for file in earlier.attachments if file.name == SOURCES),
        )

    def _build(self) -> torch.nn.Module:
        """The module; from now on the unit's model says all that only the module could tell."""
        built = module_builder.build(self.unit.model, self.unit.dtype, self.task.trust, Path(self.task.store))
        self.unit = dataclasses.replace(self.unit, model=built.model)
        return built.module

    def _compute_reference(self, module: torch.nn.Module) -> None:
        self.reference = reference.of(module, self._answers(module), self.unit.verify.level)
        self.findings = self.reference.findings
        self.test_data = tuple(
            self._put(name) for name in verifier.write_test_data(self.reference, self.unit.model, self.folder)
        )

    def _answers(self, module: torch.nn.Module) -> Answers:
        """What eager answers; from the store, if another worker or an earlier night has asked."""
        index = Index(Path(self.task.store))
        if self.task.answers and (kept := index.answers(self.task.answers)):
            with suppress(StorageError):
                self.store.get(kept.sha256, self.folder / kept.name)
                if answers := recall.load(self.folder / kept.name):
                    return answers
        answers = reference.answer(module, self.unit.model, self.unit.dtype, self.unit.verify)
        if self.task.answers:
            sha256, size = self.store.put_bytes(recall.dump(answers))
            index.put_answers(self.task.answers, FileRef(name=ANSWERS, sha256=sha256, bytes=size))
        return answers

    def _export(self, module: torch.nn.Module) -> Iterator[Event]:
        """Ask for all opsets at once; an opset that raises costs its own cells, and the rest is asked for again."""
        opsets = list(dict.fromkeys(cell.opset for cell in self.pending))
        while opsets:
            working_on = opsets[0]
            exporting = self._exporting(module, opsets)
            while True:
                try:
                    item = next(exporting, None)
                except Exception as error:
                    lost = opsets if isinstance(error, CaptureError) else [working_on]
                    yield from self._fail([cell for cell in self.pending if cell.opset in lost], error)
                    opsets = [opset for opset in opsets if opset not in lost]
                    break
                if item is None:
                    assert not opsets, f"{self.unit.exporter.name} ended without an artifact for opsets {opsets}"
                    break
                if isinstance(item, Progress):
                    working_on = item.opset or working_on
                    yield self._progress(item)
                else:
                    opsets.remove(item.opset)
                    yield from self._judge(module, item)

    def _exporting(self, module: torch.nn.Module, opsets: Sequence[int]) -> Iterator[Progress | Emission]:
        model = self.unit.model
        specs = module_builder.exported_specs(model)
        values = probes.draw(specs, probes.example_sizes(model.dims, specs), self.unit.verify.seed, self.unit.dtype)
        example = Example(specs=specs, values=values, outputs=tuple(output.name for output in model.outputs))
        export = EXPORTERS[self.unit.exporter.name]
        return export(module, example, model.dims, tuple(opsets), self.options, self.folder)

    def _progress(self, progress: Progress) -> StageStarted:
        cells = [cell.id for cell in self.pending if cell.opset == progress.opset]
        return self.stages.start(Stage(progress.step.value), cells[0] if cells else None)

    def _judge(self, module: torch.nn.Module, emission: Emission) -> Iterator[Event]:
        self.stages.seconds |= {Stage.CAPTURE: emission.capture_seconds, Stage.EMIT: emission.emit_seconds}
        for cell in [cell for cell in self.pending if cell.opset == emission.opset]:
            yield self.stages.start(Stage.VERIFY, cell.id)
            try:
                with self.stages.timed():
                    result = self._verdict(module, cell, self._emitted(cell, emission))
            except Exception as error:
                yield from self._fail([cell], error)
            else:
                yield self._finish(cell, result)

    def _emitted(self, cell: Cell, emission: Emission) -> CellResult:
        findings = [Finding(kind=EXPORTER_WARNING, message=w.message, source=w.source) for w in emission.warnings]
        if emission.alone:
            findings.append(Finding(kind="exported_alone", message=f"shares no work with other opsets: {emission.alone}"))
        sources = self._put_json(SOURCES, emission.sources)
        return self._unverified(cell.id, self._artifact(emission), findings=tuple(findings), sources=sources)

    def _unverified(self, cell: str, artifact: Artifact, findings: tuple[Finding, ...], sources: FileRef) -> CellResult:
        return CellResult(
            cell=cell,
            status=Status.UNVERIFIED,
            reason="verify=off: nothing was proved",
            findings=self.findings + findings,
            artifact=artifact,
            attachments=(sources, *self.test_data),
        )

    def _verdict(self, module: torch.nn.Module, cell: Cell, exported: CellResult) -> CellResult:
        if self.reference is None:
            return exported
        assert exported.artifact is not None
        candidate = Candidate(
            folder=self.folder.absolute(),
            artifact=exported.artifact,
            opset=cell.opset,
            model=self.unit.model,
            dtype=self.unit.dtype,
            target=cell.target,
            spec=self.unit.verify,
            reference=self.reference,
            module=module,
            exporter=self.unit.exporter.name,
            sources=self._sources(exported),
        )
        checks, findings = verifier.verify(candidate, self.task.threads, cell.id, self.shared)
        reason = verifier.failed(checks)
        status = Status.CHECK_FAILED if reason else Status.PASSED
        findings = exported.findings + findings
        return dataclasses.replace(exported, status=status, reason=reason or "", checks=checks, findings=findings)

    def _sources(self, exported: CellResult) -> Mapping[str, str]:
        """Node name → line of the model."""
        file = next(file for file in exported.attachments if file.name == SOURCES)
        copy = self.folder / f"{file.sha256}.json"
        if not copy.exists():
            self.store.get(file.sha256, copy)
        return msgspec.json.decode(copy.read_bytes(), type=dict[str, str])

    def _artifact(self, emission: Emission) -> Artifact:
        files = tuple(self._put(name) for name in emission.files)
        return described(
            graph.describe(self.folder / emission.files[0]),
            files,
            emission.made_from,
            emission.ranges,
            emission.weights_as_inputs,
        )

    def _put(self, name: str) -> FileRef:
        """Store a file of the folder; a name is stored once, since an exporter never writes a name with other bytes."""
        if name not in self.stored:
            sha256, size = self.store.put_file(self.folder / name)
            self.stored[name] = FileRef(name=name, sha256=sha256, bytes=size)
        return self.stored[name]

    def _put_json(self, name: str, value: object) -> FileRef:
        sha256, size = self.store.put_bytes(msgspec.json.format(msgspec.json.encode(value)))
        return FileRef(name=name, sha256=sha256, bytes=size)

    def _fail(self, cells: Sequence[Cell], error: Exception) -> Iterator[Event]:
        for cell in list(cells):
            yield self._finish(cell, failure(cell, self.stages.current, error, self.findings))

    def _finish(self, cell: Cell, result: CellResult) -> CellFinished:
        self.pending.remove(cell)
        return self.stages.finish(result)
