"""A model, and the file that a user's own script makes of it: what `verify` is given in the tests. Imports torch."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch

from exporters.base import Dim, TensorSpec
from orchestrator.spec import BuildSpec, GivenArtifact, ModelSpec, OutputSpec, UnitTask, WeightsSpec
from tests import synthetic


class Classifier(torch.nn.Module):
    """A convolution that runtimes fuse, two inputs, two answers, and a large weight."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1))
        self.head = torch.nn.Linear(8, 40)

    def forward(self, image: torch.Tensor, gain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pooled = self.body(image).flatten(1) * gain
        return self.head(pooled), pooled


MODEL = ModelSpec(
    name="classifier",
    build=BuildSpec(target="tests.foreign.Classifier", arguments={}),
    weights=WeightsSpec(seed=0),
    dims={"batch": Dim(name="batch", min=1, max=16)},
    inputs=(
        TensorSpec(name="image", shape=("batch", 3, 12, 12), dtype="float32"),
        TensorSpec(name="gain", shape=("batch", 1), dtype="float32", generator="uniform", range=(1, 2)),
    ),
    outputs=(OutputSpec(name="logits"), OutputSpec(name="pooled")),
)
"""Its weights are those of `trained`, in a file: a seed alone draws others than a script that uses the same seed."""
CELL = "classifier-dynamo-opset20-float32-cpu"


def trained() -> Classifier:
    """The module of whoever made the file."""
    torch.manual_seed(7)
    return Classifier().eval()


def save_weights(path: Path) -> Path:
    """Its state dict, as a user has it beside the file."""
    safetensors.torch.save_file(trained().state_dict(), path)
    return path


def export(path: Path, dynamic: bool = True, names: tuple[str, ...] = ("image", "gain", "logits", "pooled")) -> Path:
    """As a user's script does it: torch.onnx.export and nothing else."""
    torch.manual_seed(0)
    example = (torch.randn(2, 3, 12, 12), torch.rand(2, 1))
    module = trained()
    sizes = {0: torch.export.Dim("n", min=1, max=16)}
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            module,
            example,
            path,
            input_names=names[:2],
            output_names=names[2:],
            dynamic_shapes=(sizes, sizes) if dynamic else None,
            dynamo=True,
            verbose=False,
        )
    return path


def task(path: Path, store: Path, **given: object) -> UnitTask:
    """One cell that judges the file against MODEL."""
    weights = WeightsSpec(file=str(save_weights(store / "weights.safetensors")))
    unit = replace(synthetic.unit("classifier"), model=replace(MODEL, weights=weights))
    artifact = GivenArtifact(graph=str(path), **given)  # type: ignore[arg-type]
    return UnitTask(unit=unit, store=str(store), trust=("tests.foreign.*",), threads=1, given={CELL: artifact})
