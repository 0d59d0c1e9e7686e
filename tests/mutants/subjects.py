"""The models whose artifacts are damaged: one set for tuning the verifier, another, with other seeds, for the final score."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from exporters.base import Dim, Emission, Example, TensorSpec
from exporters.registry import EXPORTERS
from orchestrator.spec import BuildSpec, CaseSpec, ModelSpec, OutputSpec, WeightsSpec
from orchestrator.verify import probes, reference
from orchestrator.verify.base import Candidate
from orchestrator.zoo.early_exit import EarlyExit
from tests import synthetic
from tests.declared import OPTIONS
from tests.mutants import models, trained
from tests.verify import samples

BOTH = ("dynamo", "torchscript")
KEEP_BRANCHES = ("dynamo", "torchscript_script")
SCRIPT = ("torchscript_script",)


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A model and who can export it rightly."""

    factory: Callable[[], torch.nn.Module]
    spec: ModelSpec
    exporters: Sequence[str] = BOTH
    trained: bool = False
    """The factory gives it its weights."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, a seed and an exporter: what one process works on."""

    model: str
    exporter: str
    opset: int
    """Of the artifact that is damaged."""
    seed: int
    """Of the weights, the probes and the places of the faults."""
    tuning: bool

    @property
    def name(self) -> str:
        """For a person."""
        return f"{self.model}-{self.exporter}-opset{self.opset}-seed{self.seed}"

    @property
    def declared(self) -> Declared:
        """The declaration of its model."""
        return (TUNING if self.tuning else FINAL)[self.model]


def module_of(subject: Subject) -> torch.nn.Module:
    """The module with its weights."""
    torch.manual_seed(subject.seed)
    module = subject.declared.factory().eval()
    return module if subject.declared.trained else models.drawn(module)


def of_seed(subject: Subject, seed: int) -> Subject:
    """The same with another seed."""
    return replace(subject, seed=seed)


def export(subject: Subject, module: torch.nn.Module, folder: Path, opsets: Sequence[int]) -> Iterator[Candidate]:
    """Good artifacts by the real exporter, one for each opset, that share one reference."""
    spec = replace(samples.SPEC, seed=subject.seed)
    answers = reference.compute(module, subject.declared.spec, "float32", spec)
    for emission in emissions(subject, module, folder, opsets):
        described = samples.artifact(folder, emission.files)
        yield Candidate(
            folder=folder,
            artifact=replace(described, ranges=emission.ranges, made_from=emission.made_from),
            opset=emission.opset,
            model=subject.declared.spec,
            dtype="float32",
            target=synthetic.CPU,
            spec=spec,
            reference=answers,
            module=module,
            exporter=subject.exporter,
            sources=emission.sources,
        )
    gc.collect()


def emissions(subject: Subject, module: torch.nn.Module, folder: Path, opsets: Sequence[int]) -> Iterator[Emission]:
    """What the exporter writes into the folder."""
    model = subject.declared.spec
    values = probes.draw(model.inputs, probes.example_sizes(model.dims, model.inputs), subject.seed, "float32")
    example = Example(specs=model.inputs, values=values, outputs=tuple(output.name for output in model.outputs))
    items = EXPORTERS[subject.exporter](module, example, model.dims, opsets, OPTIONS[subject.exporter], folder)
    return (item for item in items if isinstance(item, Emission))


def _model(
    inputs: Sequence[TensorSpec], outputs: Sequence[str], cases: Sequence[CaseSpec] = (), largest: int = 40
) -> ModelSpec:
    names = dict.fromkeys(size for spec in inputs for size in spec.shape if isinstance(size, str))
    return ModelSpec(
        name="mutants",
        build=BuildSpec(target="tests.mutants.models", arguments={}),
        weights=WeightsSpec(seed=0),
        dims={name: Dim(name=name, min=1, max=largest) for name in names},
        inputs=tuple(inputs),
        outputs=tuple(OutputSpec(name=name) for name in outputs),
        cases=tuple(cases),
        config_path="tests/mutants/subjects.py",
    )


def _floats(name: str, *shape: int | str, low: float = -2.0, high: float = 2.0) -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype="float32", generator="uniform", range=(low, high))


def _integers(name: str, *shape: int | str, low: int, high: int) -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype="int64", generator="uniform", range=(low, high))


def _mask(name: str, *shape: int | str) -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype="int64", generator="mask")


def _quiet(*specs: TensorSpec) -> CaseSpec:
    return CaseSpec(name="quiet", inputs=tuple(replace(spec, range=(-0.1, 0.1)) for spec in specs))


_TOKENS = (_integers("ids", "batch", "length", low=0, high=512), _mask("mask", "batch", "length"))
_SIGNAL = _floats("signal", "batch", 16, low=-1.0, high=1.0)
_ROWS = (_floats("signal", "batch", 12, low=-3.0, high=3.0),)
_STEPS = (_floats("signal", "batch", "steps", 12),)
_PAIR = (_floats("queries", "batch", "rows", 8), _floats("keys", "batch", "columns", 8))
_MATCHED = ("weights", "scores", "energy", "best")
_early = functools.partial(EarlyExit, features=16, hidden=160, classes=5, threshold=0.25)

FINAL = {
    "convolutional": Declared(
        factory=models.Convolutional, spec=_model([_floats("image", "batch", 3, 10, 10)], ["probabilities"])
    ),
    "strided": Declared(factory=models.Strided, spec=_model([_floats("image", 2, 3, 11, 11)], ["probabilities"])),
    "lstm": Declared(factory=models.Recurrent, spec=_model(_STEPS, ["last", "best"])),
    "encoder": Declared(factory=models.Transformer, spec=_model(_TOKENS, ["scores"])),
    "decoder": Declared(
        factory=functools.partial(models.Transformer, causal=True, pre_norm=True, written_out=False),
        spec=_model(_TOKENS, ["scores"]),
    ),
    "matcher": Declared(factory=models.Matcher, spec=_model(_PAIR, _MATCHED)),
    "patches": Declared(factory=models.Patches, spec=_model([_floats("patches", "batch", "length", 16)], ["heads", "sums"])),
    "buckets": Declared(factory=models.Buckets, spec=_model(_ROWS, ["mixed", "low"])),
    "early_exit": Declared(factory=_early, spec=_model([_SIGNAL], ["scores"], [_quiet(_SIGNAL)]), exporters=KEEP_BRANCHES),
    "gate": Declared(factory=models.Gate, spec=_model([_SIGNAL], ["scores"]), exporters=KEEP_BRANCHES),
    "silence": Declared(factory=models.Silence, spec=_model([_SIGNAL], ["scores"]), exporters=KEEP_BRANCHES),
    "steps": Declared(
        factory=models.Steps, spec=_model([_floats("signal", "batch", "steps", 8)], ["scores"]), exporters=SCRIPT
    ),
    "counts": Declared(factory=models.Counts, spec=_model([_integers("counts", 3, 7, low=-20, high=20)], ["shares", "rest"])),
    "minilm": Declared(factory=trained.minilm, spec=trained.MINILM, trained=True),
    "crnn": Declared(factory=trained.crnn, spec=trained.CRNN, trained=True),
}
"""For the final score."""

TUNING = {
    "convolutional": Declared(
        factory=functools.partial(models.Convolutional, 12, groups=3, slope=0.2),
        spec=_model([_floats("image", "batch", 3, 8, 12)], ["probabilities"]),
    ),
    "strided": Declared(
        factory=functools.partial(models.Strided, 5, dilation=1), spec=_model([_floats("image", 3, 3, 8, 8)], ["probabilities"])
    ),
    "gru": Declared(factory=functools.partial(models.Recurrent, torch.nn.GRU, 80), spec=_model(_STEPS, ["last", "best"])),
    "encoder": Declared(
        factory=functools.partial(models.Transformer, 40, pre_norm=True, written_out=False), spec=_model(_TOKENS, ["scores"])
    ),
    "decoder": Declared(factory=functools.partial(models.Transformer, 48, causal=True), spec=_model(_TOKENS, ["scores"])),
    "matcher": Declared(factory=functools.partial(models.Matcher, wide=2500), spec=_model(_PAIR, _MATCHED)),
    "patches": Declared(
        factory=functools.partial(models.Patches, 20, 5),
        spec=_model([_floats("patches", "batch", "length", 20)], ["heads", "sums"]),
    ),
    "buckets": Declared(factory=functools.partial(models.Buckets, divisor=0.9), spec=_model(_ROWS, ["mixed", "low"])),
    "early_exit": Declared(
        factory=functools.partial(_early, threshold=0.3),
        spec=_model([_SIGNAL], ["scores"], [_quiet(_SIGNAL)]),
        exporters=KEEP_BRANCHES,
    ),
    "gate": Declared(
        factory=functools.partial(models.Gate, wide=1200, threshold=0.5),
        spec=_model([_SIGNAL], ["scores"]),
        exporters=KEEP_BRANCHES,
    ),
    "silence": Declared(
        factory=functools.partial(models.Silence, share=0.7), spec=_model([_SIGNAL], ["scores"]), exporters=KEEP_BRANCHES
    ),
    "steps": Declared(
        factory=functools.partial(models.Steps, wide=2300),
        spec=_model([_floats("signal", "batch", "steps", 8)], ["scores"]),
        exporters=SCRIPT,
    ),
    "counts": Declared(
        factory=functools.partial(models.Counts, 5),
        spec=_model([_integers("counts", 3, 7, low=-20, high=20)], ["shares", "rest"]),
    ),
}
"""For looking while a check is written."""
