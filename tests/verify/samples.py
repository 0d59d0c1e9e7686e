"""A good artifact of a small model, made by a real exporter, and ways to damage it."""

from __future__ import annotations

import functools
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import torch

from exporters import graph
from exporters.base import Dim, Emission, Example, TensorSpec
from exporters.registry import EXPORTERS
from orchestrator.artifact import described
from orchestrator.result import Artifact, Check, CheckStatus, FileRef
from orchestrator.spec import BuildSpec, ModelSpec, OutputSpec, VerifyLevel, VerifySpec, WeightsSpec
from orchestrator.verify import probes, reference, verifier
from orchestrator.verify.base import Candidate, Subject
from orchestrator.verify.session import Session
from tests import synthetic
from tests.declared import OPTIONS

SPEC = VerifySpec(level=VerifyLevel.STANDARD, seed=0, k=8.0)


class Pair(torch.nn.Module):
    """Two inputs, two outputs, weights that go into the weights file."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = torch.nn.Linear(16, 1200)
        self.norm = torch.nn.BatchNorm1d(1200)
        self.narrow = torch.nn.Linear(1200, 5)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(self.norm(self.wide(left)) - right.sum(1, keepdim=True))
        scores = self.narrow(hidden)
        return scores, scores.argmax(1)


PAIR = ModelSpec(
    name="pair",
    build=BuildSpec(target="tests.verify.samples.Pair", arguments={}),
    weights=WeightsSpec(seed=0),
    dims={"batch": Dim(name="batch", min=1, max=16), "width": Dim(name="width", min=1, max=None)},
    inputs=(
        TensorSpec(name="left", shape=("batch", 16), dtype="float32"),
        TensorSpec(name="right", shape=("batch", "width"), dtype="float32", generator="uniform", range=(-1, 1)),
    ),
    outputs=(OutputSpec(name="scores"), OutputSpec(name="best")),
)


def seeded(factory: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    torch.manual_seed(0)
    return factory().eval()


def make(
    folder: Path,
    module: torch.nn.Module,
    model: ModelSpec,
    exporter: str = "torchscript",
    opset: int = 20,
    spec: VerifySpec = SPEC,
    dtype: str = "float32",
    **options: object,
) -> Candidate:
    """Export the module for real and put it beside its reference."""
    values = probes.draw(model.inputs, probes.example_sizes(model.dims, model.inputs), spec.seed, dtype)
    example = Example(specs=model.inputs, values=values, outputs=tuple(output.name for output in model.outputs))
    items = EXPORTERS[exporter](module, example, model.dims, [opset], {**OPTIONS[exporter], **options}, folder)
    (emission,) = (item for item in items if isinstance(item, Emission))
    return Candidate(
        folder=folder,
        artifact=replace(
            artifact(folder, emission.files), ranges=emission.ranges, weights_as_inputs=emission.weights_as_inputs
        ),
        opset=opset,
        model=model,
        dtype=dtype,
        target=synthetic.CPU,
        spec=spec,
        reference=reference.compute(module, model, dtype, spec),
        module=module,
        exporter=exporter,
        sources=emission.sources,
    )


@functools.cache
def _pair() -> Candidate:
    return make(Path(tempfile.mkdtemp(prefix="pair-")), seeded(Pair), PAIR)


def pair(folder: Path) -> Candidate:
    """The good artifact of PAIR, in a folder of the test's own."""
    good = _pair()
    shutil.copytree(good.folder, folder, dirs_exist_ok=True)
    return replace(good, folder=folder)


def artifact(folder: Path, files: Sequence[str]) -> Artifact:
    return described(graph.describe(folder / files[0]), tuple(ref(folder / name) for name in files), "exported")


def ref(path: Path) -> FileRef:
    data = path.read_bytes()
    return FileRef(name=path.name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def damaged(candidate: Candidate, edit: Callable[[onnx.ModelProto], Any]) -> Candidate:
    """The candidate after an edit of its graph file, with a manifest that fits what is there now."""
    path = candidate.path
    proto = onnx.load(path, load_external_data=False)
    edit(proto)
    path.write_bytes(proto.SerializeToString())
    return replace(candidate, artifact=artifact(candidate.folder, [file.name for file in candidate.artifact.files]))


def subject(candidate: Candidate) -> Subject:
    """For one check alone, without the checker in its process."""
    parts = {name: getattr(candidate, name) for name in candidate.__dataclass_fields__}
    return Subject(**parts, session=Session(candidate.path, candidate.target, 1), native=lambda: None)


def verdicts(candidate: Candidate) -> dict[str, Check]:
    checks, _ = verifier.verify(candidate, threads=1)
    return {check.id: check for check in checks}


def failing(candidate: Candidate) -> dict[str, str]:
    """The checks that say no, with what they say."""
    bad = (CheckStatus.FAILED, CheckStatus.ERROR)
    return {check.id: check.detail for check in verdicts(candidate).values() if check.status in bad}
