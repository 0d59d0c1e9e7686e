"""What the eager module answers on the probes, in the cell's dtype and in float64: what artifacts are judged against.

A reference that cannot tell right from wrong is refused here. It is computed once for a model and a dtype.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from typing import Literal, TypeVar

import ml_dtypes
import numpy as np
import torch

from orchestrator.build.adapter import flatten
from orchestrator.result import Finding
from orchestrator.spec import FULL, ModelSpec, VerifyLevel, VerifySpec
from orchestrator.verify import edges, modes, probes, uses
from orchestrator.verify.modes import OtherMode
from orchestrator.verify.search import BUDGET, Answered, Inputs, Outcomes, Search, search
from orchestrator.verify.sites import Observer, Site, Value
from orchestrator.verify.sizes import on_other_paths
from orchestrator.verify.uses import Uses, to_numpy

T = TypeVar("T")
Kind = Literal["example", "case", "values", "sizes", "turned", "edge"]


class EagerError(Exception):
    """The model itself raises, or answers otherwise than its declaration says; one line."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Inputs and what eager answers to them; arrays have the shapes of the model."""

    name: str
    kind: Kind
    sizes: Mapping[str, int]
    inputs: Mapping[str, np.ndarray]
    outputs: tuple[np.ndarray, ...]
    """In flattened order, in the cell's dtype."""
    exact: tuple[np.ndarray, ...] | None
    """The same in float64; None if the model cannot run so."""
    decided: Mapping[Site, tuple[Value, ...]] = field(default_factory=dict)
    """What eager asked of its inputs' values on the way, by line of the model."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What eager answers to all probes, the example first; see `recall` for how it is kept."""

    probes: tuple[Probe, ...]
    vacuous: Mapping[str, str]
    """Outputs that tell nothing, with the reason."""
    findings: tuple[Finding, ...]
    turned: tuple[Probe, ...] = ()
    """Inputs of the example's sizes that were searched for, because eager decides otherwise there than on all probes."""
    search: Search = field(default_factory=Search)
    """What that came to."""
    edges: tuple[Probe, ...] = ()
    """Large, tiny, nearly constant and non-finite inputs, see `edges`; nothing at quick."""

    @property
    def example(self) -> Probe:
        """The inputs that are exported."""
        return self.probes[0]


@dataclass(frozen=True, kw_only=True)
class Reference(Answers):
    """What an artifact is judged against: eager's answers, and what only the module at hand can tell."""

    uses: Callable[[], Uses]
    """Which tensors of its state the module uses; watched before any export, on the example and the cases once more."""
    other_modes: Callable[[], tuple[OtherMode, ...]]
    """What the module answers on the example in the modes that it is not in; asked before any export."""
    state: Mapping[str, str]
    """The module's flags, parameters and buffers before any export, see `modes.snapshot`; nothing at quick."""


def compute(module: torch.nn.Module, model: ModelSpec, dtype: str, spec: VerifySpec) -> Reference:
    """Everything at once: `answer` and `of`."""
    return of(module, answer(module, model, dtype, spec), spec.level)


def of(module: torch.nn.Module, answers: Answers, level: VerifyLevel) -> Reference:
    """The reference of a module whose answers are known.

    Args:
        module: In the dtype and mode of the cell, before any export.
        answers: Of this module, or of an equal one in another process.
        level: How much will be proved with it.
    """
    ask = _at_once if level in FULL else functools.cache
    named = [tensors(probe) for probe in answers.probes if probe.kind != "sizes"]
    return Reference(
        **{field.name: getattr(answers, field.name) for field in fields(answers)},
        other_modes=ask(lambda: modes.other_modes(module, tensors(answers.example))),
        state=modes.snapshot(module) if level in FULL else {},
        uses=ask(lambda: uses.observe(module, named)),
    )


def _at_once(question: Callable[[], T]) -> Callable[[], T]:
    """Ask now; what is raised is raised where the answer is wanted, so that it fails one check and not all."""
    asked: futures.Future[T] = futures.Future()
    try:
        asked.set_result(question())
    except Exception as error:
        asked.set_exception(error)
    return asked.result


def answer(module: torch.nn.Module, model: ModelSpec, dtype: str, spec: VerifySpec) -> Answers:
    """Run the eager module on the probes.

    The module is left as it was: it may move its statistics in training mode, or count its calls in any.

    Args:
        module: In the dtype and mode of the cell.
        model: Its declaration.
        dtype: Of the cell.
        spec: Level and seed of the probes.

    Raises:
        EagerError: The model raises on the example, or its number of outputs is not the declared one.
    """
    eager = _Eager(module, model, dtype)
    found = []
    for planned in probes.plan_probes(model, spec.level, spec.seed):
        inputs = probes.draw(planned.specs, planned.sizes, planned.seed, dtype)
        probe = eager.probe(planned.name, planned.kind, planned.sizes, inputs)
        if probe is not None:
            found.append(probe)
    if spec.level in BUDGET:
        found += _at_other_sizes(eager, module, found, dtype, spec.seed)
    if not eager.repeats(found[0]):
        eager.findings.append(
            Finding(kind="nondeterministic_model", message="eager answers differently when it is asked twice")
        )
    searched = _searched(eager, found, spec)
    turned = [eager.probe(name, "turned", found[0].sizes, inputs) for name, inputs in searched.turned]
    return Answers(
        probes=tuple(found),
        vacuous=_vacuous(found, model),
        findings=tuple(dict.fromkeys(eager.findings)),
        turned=tuple(probe for probe in turned if probe is not None),
        search=searched,
        edges=tuple(_at_edges(eager, model, spec, dtype)) if spec.level in FULL else (),
    )


def _at_edges(eager: _Eager, model: ModelSpec, spec: VerifySpec, dtype: str) -> Iterator[Probe]:
    for edge in edges.edges(model, spec.seed, dtype):
        probe = eager.probe(edge.name, "edge", edge.sizes, edge.inputs, in_float64=edge.finite)
        if probe is not None:
            yield probe


class _Eager:
    """A model that is asked about inputs, in the cell's dtype and in float64."""

    def __init__(self, module: torch.nn.Module, model: ModelSpec, dtype: str) -> None:
        self.model = model
        self.findings: list[Finding] = []
        self._runner = Runner(module)
        self._wide = None if dtype == "float64" else _in_float64(module, self.findings)

    def probe(
        self, name: str, kind: Kind, sizes: Mapping[str, int], inputs: Inputs, *, in_float64: bool = True
    ) -> Probe | None:
        """What it answers; None, and a finding, if it raises.

        Raises:
            EagerError: It raises on the example, or does not answer as declared.
        """
        try:
            outputs, decided = self._runner.observed(inputs)
        except Exception as error:
            message = f"the model itself raises on {name}: {_line(error)}"
            if kind == "example":
                raise EagerError(message) from error
            self.findings.append(Finding(kind="eager_raises", message=message))
            return None
        if len(outputs) != len(self.model.outputs):
            raise EagerError(_other_outputs(name, len(outputs), self.model))
        return Probe(
            name=name,
            kind=kind,
            sizes=sizes,
            inputs={name: array(value) for name, value in inputs.items()},
            outputs=outputs,
            exact=_exact(self._wide, inputs, outputs, self.findings) if self._wide and in_float64 else None,
            decided=decided,
        )

    def decides(self, inputs: Inputs) -> Answered:
        """What it decides on its way to an answer that nobody keeps."""
        observer = Observer()
        try:
            outputs = self._runner(inputs, observer)
        except Exception:
            return Answered(decided=observer.decided, raised=True, usable=False)
        finite = all(np.isfinite(values.astype(np.float64)).all() for values in outputs)
        return Answered(decided=observer.decided, raised=False, usable=finite)

    def repeats(self, example: Probe) -> bool:
        """Whether it answers the same bits when it is asked again, this time unobserved."""
        again = self._runner({name: tensor_of(value) for name, value in example.inputs.items()})
        return [_bits(values) for values in again] == [_bits(values) for values in example.outputs]


def _at_other_sizes(eager: _Eager, module: torch.nn.Module, found: Sequence[Probe], dtype: str, seed: int) -> list[Probe]:
    """Probes at sizes at which the model does something else than on those that were planned."""
    model, example = eager.model, found[0].sizes
    more: list[Probe | None] = []
    for sizes in on_other_paths(module, model.inputs, model.dims, [probe.sizes for probe in found], dtype):
        name = " ".join(f"{dim}={size}" for dim, size in sizes.items() if size != example[dim])
        inputs = probes.draw(model.inputs, sizes, seed + len(found) + len(more), dtype)
        more.append(eager.probe(name, "sizes", sizes, inputs))
    return [probe for probe in more if probe is not None]


def _searched(eager: _Eager, found: Sequence[Probe], spec: VerifySpec) -> Search:
    outcomes = Outcomes()
    for probe in found:
        outcomes.add(probe.sizes, probe.decided)
    example = found[0]
    bases = [probe for probe in found if probe.sizes == example.sizes]
    return search(
        outcomes,
        [(probe.name, {name: tensor_of(value) for name, value in probe.inputs.items()}) for probe in bases],
        eager.model.inputs,
        example.sizes,
        eager.decides,
        budget=BUDGET.get(spec.level, 0),
        seed=spec.seed,
    )


class Runner:
    """A module that answers with numpy arrays and does not change."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module

    def __call__(self, inputs: Inputs, observer: Observer | None = None) -> tuple[np.ndarray, ...]:
        """The answer, flattened; what the model does on the way is recorded if there is an observer."""
        # A model may write into its buffers and its inputs: it gets copies of both.
        buffers = {name: buffer.clone() for name, buffer in self._module.named_buffers()}
        given = tuple(value.clone() for value in inputs.values())
        with torch.no_grad(), observer.watching(given) if observer else nullcontext():
            answer = torch.func.functional_call(self._module, buffers, given)
        return tuple(array(tensor) for tensor in flatten(answer))

    def observed(self, inputs: Inputs) -> tuple[tuple[np.ndarray, ...], Mapping[Site, tuple[Value, ...]]]:
        """The answer, and what was asked of the inputs' values on the way."""
        observer = Observer()
        return self(inputs, observer), observer.decided


def tensors(probe: Probe) -> list[torch.Tensor]:
    """The inputs of a probe as the module takes them, by position."""
    return [tensor_of(values) for values in probe.inputs.values()]


def array(tensor: torch.Tensor) -> np.ndarray:
    """A copy as numpy array; bfloat16, which numpy lacks, by ml_dtypes."""
    return np.array(to_numpy(tensor))


def _in_float64(module: torch.nn.Module, findings: list[Finding]) -> Runner | None:
    try:
        return Runner(_double(module))
    except Exception as error:
        findings.append(_no_float64(_line(error)))
        return None


def _double(module: torch.nn.Module) -> torch.nn.Module:
    """A copy in float64; weights are widened while they are copied, which halves the time."""
    tensors = [*module.parameters(), *module.buffers()]
    wide = {id(tensor): _widened(tensor) for tensor in tensors if tensor.is_floating_point()}
    return copy.deepcopy(module, wide).double()


def _widened(tensor: torch.Tensor) -> torch.Tensor:
    values = tensor.detach().double()
    return torch.nn.Parameter(values, tensor.requires_grad) if isinstance(tensor, torch.nn.Parameter) else values


def _exact(
    wide: Runner, inputs: Mapping[str, torch.Tensor], outputs: Sequence[np.ndarray], findings: list[Finding]
) -> tuple[np.ndarray, ...] | None:
    try:
        exact = wide({name: value.double() if value.is_floating_point() else value for name, value in inputs.items()})
    except Exception as error:
        findings.append(_no_float64(_line(error)))
        return None
    if [values.shape for values in exact] != [values.shape for values in outputs]:
        findings.append(_no_float64("its answers have other shapes"))
        return None
    return exact


def _no_float64(reason: str) -> Finding:
    return Finding(kind="no_float64", message=f"no float64 reference, tolerances of assert_close hold: {reason}")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"


def _other_outputs(probe: str, count: int, model: ModelSpec) -> str:
    declared = [output.name for output in model.outputs]
    return (
        f"the model answers with {count} tensors on {probe}, {model.config_path} declares "
        f"{len(declared)} outputs ({', '.join(declared)})"
    )


def _bits(values: np.ndarray) -> tuple[tuple[int, ...], str, bytes]:
    """Equal for equal answers, NaN included, which numpy cannot tell in bfloat16."""
    return values.shape, values.dtype.name, values.tobytes()


def tensor_of(values: np.ndarray) -> torch.Tensor:
    """A copy as tensor, the other way round than `array`."""
    if values.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(values.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(values.copy())


def _vacuous(found: Sequence[Probe], model: ModelSpec) -> dict[str, str]:
    """Outputs that have one value for all elements of all probes: any artifact that answers it would pass."""
    reasons: dict[str, str] = {}
    for index, output in enumerate(model.outputs):
        values = np.concatenate([probe.outputs[index].ravel() for probe in found])
        if output.constant or (values.size and (values != values[0]).any() and not np.isnan(values.astype(np.float64)).all()):
            continue
        reasons[output.name] = f"is {values[0]} everywhere on all probes" if values.size else "is empty on all probes"
    return reasons
