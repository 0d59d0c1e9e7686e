"""One unit of work that judges artifacts made elsewhere, as a stream of events: the same checks as after an export of our own.

What needs the export itself is reported as not applicable. Runs in the process that it is called in, as `unit` does.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import given
from orchestrator.build import module as module_builder
from orchestrator.result import (
    Artifact,
    CellResult,
    Check,
    CheckStatus,
    Event,
    Finding,
    Stage,
    Status,
    ValueInfo,
)
from orchestrator.spec import Cell, ModelSpec, UnitTask
from orchestrator.stages import Stages, failure
from orchestrator.verify import reference as references
from orchestrator.verify import verifier
from orchestrator.verify.base import Candidate
from orchestrator.verify.reference import Reference
from orchestrator.verify.registry import CHECKS

if TYPE_CHECKING:
    import torch

RUNTIME_DOMAINS = frozenset({"com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"})
"""Domains besides the standard ones in ONNX Runtime's operator schemas (1.31): what its own optimiser writes into a file."""
NEED_THE_EXPORT = {
    "ranges": "which sizes the capture admits is known to the export alone; shapes tries sizes instead",
    "untouched": "whether the export left the model as it was is known to the export alone",
}
"""What cannot be asked of a file, by the name under which it is reported, with the reason."""


def run(task: UnitTask, folder: Path) -> Iterator[Event]:  # noqa: ARG001
    """Judge the artifacts that the task gives.

    Args:
        task: A unit with a given artifact for each cell.
        folder: Not used: the files are judged where they are, and nothing is handed over.

    Yields:
        A StageStarted before each stage and a CellFinished for every cell that is neither skipped nor done already. The files
        are read first, so that one that nothing may load costs no building of the model.
    """
    return _Judgement(task).events()


class _Judgement:
    """The state of one unit while it is judged."""

    def __init__(self, task: UnitTask) -> None:
        self._task, self._unit = task, task.unit
        self._pending = [cell for cell in task.unit.cells if cell.skip is None and cell.id not in task.done]
        self._stages = Stages(self._unit.id, Stage.VERIFY)

    def events(self) -> Iterator[Event]:
        fit = yield from self._read()
        if not fit:
            return
        try:
            yield self._stages.start(Stage.BUILD)
            with self._stages.timed():
                module_builder.use_threads(self._task.threads)
                built = module_builder.build(self._unit.model, self._unit.dtype, self._task.trust, Path(self._task.store))
                self._unit = replace(self._unit, model=built.model)
            yield self._stages.start(Stage.REFERENCE)
            with self._stages.timed():
                reference = references.compute(built.module, self._unit.model, self._unit.dtype, self._unit.verify)
        except Exception as error:
            for cell, artifact in fit:
                yield self._stages.finish(replace(failure(cell, self._stages.current, error, ()), artifact=artifact))
            return
        for cell, artifact in fit:
            yield self._stages.start(Stage.VERIFY, cell.id)
            with self._stages.timed():
                result = self._judged(cell, artifact, reference, built.module)
            yield self._stages.finish(result)

    def _read(self) -> Generator[Event, None, list[tuple[Cell, Artifact]]]:
        """Finish the cells whose file nothing may load; return the others."""
        fit = []
        for cell in self._pending:
            yield self._stages.start(Stage.VERIFY, cell.id)
            try:
                fit.append((cell, given.read(Path(self._task.given[cell.id].graph))))
            except given.UnfitError as error:
                yield self._stages.finish(self._refused(cell, error))
            except Exception as error:
                yield self._stages.finish(failure(cell, Stage.VERIFY, error, ()))
        return fit

    def _refused(self, cell: Cell, error: given.UnfitError) -> CellResult:
        asked = [name for name, registered in CHECKS.items() if self._unit.verify.level in registered.levels]
        others = f"not run: nothing loads a file that fails {error.check}"
        checks = (
            Check(id=name, status=CheckStatus.FAILED, detail=str(error))
            if name == error.check
            else Check(id=name, status=CheckStatus.ERROR, detail=others)
            for name in asked
        )
        return CellResult(
            cell=cell.id, status=Status.CHECK_FAILED, reason=f"{error.check}: {error}", checks=(*checks, *_not_applicable())
        )

    def _judged(self, cell: Cell, artifact: Artifact, reference: Reference, module: torch.nn.Module) -> CellResult:
        candidate, findings = self._candidate(cell, artifact, reference, module)
        checks, seen = verifier.verify(candidate, self._task.threads)
        reason = verifier.failed(checks)
        return CellResult(
            cell=cell.id,
            status=Status.CHECK_FAILED if reason else Status.PASSED,
            reason=reason or "",
            checks=(*checks, *_not_applicable()),
            findings=(*reference.findings, *findings, *seen),
            artifact=artifact,
        )

    def _candidate(
        self, cell: Cell, artifact: Artifact, reference: Reference, module: torch.nn.Module
    ) -> tuple[Candidate, tuple[Finding, ...]]:
        wanted = self._task.given[cell.id]
        theirs = {ours: name for name, ours in wanted.names.items()}
        model = _renamed(self._unit.model, theirs)
        ordered = _in_their_order(model, artifact)
        in_our_terms, symbols = _with_our_dimensions(ordered, artifact)
        candidate = Candidate(
            folder=Path(wanted.graph).parent,
            artifact=in_our_terms,
            opset=cell.opset if wanted.compare_opset else artifact.opset,
            model=ordered,
            dtype=self._unit.dtype,
            target=cell.target,
            spec=self._unit.verify,
            reference=_asked_in_their_names(reference, theirs),
            module=module,
            exporter=self._unit.exporter.name,
            domains=RUNTIME_DOMAINS if cell.target.provider.endswith("ExecutionProvider") else frozenset(),
        )
        return candidate, (*_order_finding(model, ordered), *symbols)


def _not_applicable() -> Iterator[Check]:
    for name, reason in NEED_THE_EXPORT.items():
        yield Check(id=name, status=CheckStatus.NOT_APPLICABLE, detail=reason)


# Their names, their order, their symbols


def _renamed(model: ModelSpec, theirs: Mapping[str, str]) -> ModelSpec:
    """The declaration with the names that the file has."""
    inputs = tuple(replace(spec, name=theirs.get(spec.name, spec.name)) for spec in model.inputs)
    outputs = tuple(replace(output, name=theirs.get(output.name, output.name)) for output in model.outputs)
    return replace(model, inputs=inputs, outputs=outputs)


def _asked_in_their_names(reference: Reference, theirs: Mapping[str, str]) -> Reference:
    """The model has answered to its own names; the artifact is asked the same under the names that it has."""
    vacuous = {theirs.get(name, name): reason for name, reason in reference.vacuous.items()}
    probes, turned, edges = (
        tuple(replace(probe, inputs={theirs.get(name, name): value for name, value in probe.inputs.items()}) for probe in asked)
        for asked in (reference.probes, reference.turned, reference.edges)
    )
    return replace(reference, probes=probes, turned=turned, edges=edges, vacuous=vacuous)


def _in_their_order(model: ModelSpec, artifact: Artifact) -> ModelSpec:
    """Inputs are given by name, so that their order is the file's own business; answers are read by position."""
    declared = {spec.name: spec for spec in model.inputs}
    names = [value.name for value in artifact.inputs]
    if sorted(names) != sorted(declared):
        return model
    return replace(model, inputs=tuple(declared[name] for name in names))


def _order_finding(declared: ModelSpec, found: ModelSpec) -> Iterator[Finding]:
    if declared.inputs != found.inputs:
        order, other = (", ".join(spec.name for spec in model.inputs) for model in (found, declared))
        yield Finding(kind="input_order", message=f"inputs come as {order} instead of {other}; they are given by name")


def _with_our_dimensions(model: ModelSpec, artifact: Artifact) -> tuple[Artifact, tuple[Finding, ...]]:
    """The file's own symbols by the dimensions that are declared in their place; a number stays a number.

    A symbol that stands for two declared dimensions stays as it is, so that the interface check sees it.
    """
    meanings: dict[str, set[str]] = {}
    for spec, value in zip(model.inputs, artifact.inputs, strict=False):
        for declared, found in zip(spec.shape, value.shape, strict=False):
            if isinstance(declared, str) and isinstance(found, str):
                meanings.setdefault(found, set()).add(declared)
    ours = {found: next(iter(dims)) for found, dims in meanings.items() if len(dims) == 1}
    inputs = tuple(
        replace(value, shape=_unnamed_filled(translated, spec.shape))
        for spec, value in zip(model.inputs, artifact.inputs, strict=False)
        for translated in [_translated(value, ours)]
    )
    outputs = tuple(replace(value, shape=_translated(value, ours)) for value in artifact.outputs)
    renamed = ", ".join(f"{dim} is called {found}" for found, dim in ours.items() if found != dim)
    findings = (Finding(kind="dimension_names", message=f"in the file {renamed}"),) if renamed else ()
    return replace(artifact, inputs=(*inputs, *artifact.inputs[len(inputs) :]), outputs=outputs), findings


def _translated(value: ValueInfo, ours: Mapping[str, str]) -> tuple[int | str | None, ...]:
    return tuple(ours.get(size, size) if isinstance(size, str) else size for size in value.shape)


def _unnamed_filled(shape: tuple[int | str | None, ...], declared: tuple[int | str, ...]) -> tuple[int | str | None, ...]:
    """A dynamic dimension without a name may stand for any that is declared dynamic."""
    if len(shape) != len(declared):
        return shape
    pairs = zip(shape, declared, strict=True)
    return tuple(ours if found is None and isinstance(ours, str) else found for found, ours in pairs)
