"""Small models that show what exporters get wrong, and how the tests export them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from exporters.base import Dim, Emission, Example, Progress, TensorSpec
from exporters.registry import EXPORTERS
from tests.declared import OPTIONS

BATCH = {"batch": Dim(name="batch", min=1, max=64)}


class Mixed(torch.nn.Module):
    """Convolution and linear layer with weights above and below the limit of 64 KiB."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(32, 64, 3, padding=1)
        self.head = torch.nn.Linear(64, 300)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(image)).mean((2, 3)))


class Boundaries(torch.nn.Module):
    """Operators whose translation changes between opsets 18 and 23; the TorchScript-based exporter has none for RMSNorm."""

    def __init__(self, exporter: str) -> None:
        super().__init__()
        self.groups = torch.nn.GroupNorm(2, 8)
        self.scale = torch.nn.RMSNorm(6) if exporter == "dynamo" else torch.nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.nn.functional.gelu(self.groups(x))
        grid = torch.tanh(x[:, :2]).permute(0, 2, 3, 1)
        x = torch.nn.functional.grid_sample(x, grid, align_corners=False)
        return self.scale(torch.nn.functional.scaled_dot_product_attention(x, x, x))


class Statistics(torch.nn.Module):
    """What behaves otherwise in training mode, and a buffer of its own that forward leaves alone."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.norm = torch.nn.BatchNorm1d(4)
        self.dropout = torch.nn.Dropout(0.5)
        self.register_buffer("scale", torch.full((4,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.norm(self.linear(x))) * self.scale


class Branching(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if bool(x.sum() > 0):  # the line of the branch
            return x + 1
        return x - 1


class Refused(torch.nn.Module):
    """Has an operator that no exporter knows at any opset."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvals(x)


class Subtracts(torch.nn.Module):
    """Parameters that must not be permuted, and one that forward ignores."""

    def forward(self, x: Tensor, a: Tensor, b: Tensor, ignored: Tensor) -> Tensor:  # noqa: ARG002
        return x - 2 * a + b * x


class Variadic(torch.nn.Module):
    def forward(self, *inputs: Tensor) -> Tensor:
        return inputs[0] - 2 * inputs[1]


class Named(torch.nn.Module):
    def forward(self, **named: Tensor) -> Tensor:
        return named["a"] - 2 * named["b"]


class Loop(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for k in range(x.shape[0]):
            x = x + k
        return x


class NotCompilable(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self.twice(x)

    def twice(self, x: Tensor) -> Tensor:
        return x.apply_(lambda value: 2 * value)


class Product(torch.nn.Module):
    def forward(self, mask: Tensor, x: Tensor) -> Tensor:
        return mask @ x


class Guarded(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.shape[0] > 12 else x + 1


class SeesItsCompiler(torch.nn.Module):
    """Only torch.export's strict mode runs forward in Dynamo."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if torch.compiler.is_dynamo_compiling() else x + 1


class TwoBranches(torch.nn.Module):
    """A compiled LSTM holds its weights as constants, here inside a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(16, 64, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if bool(x.sum() > 0):
            answer, _ = self.lstm(x)
        else:
            answer = torch.zeros(x.shape[0], x.shape[1], 64)
        return answer


def spec(name: str, *shape: int | str, keyword: bool = False) -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype="float32", keyword=keyword)


def example(*specs: TensorSpec, sizes: Mapping[str, int] | None = None, outputs: tuple[str, ...] = ("y",)) -> Example:
    sizes = sizes or {"batch": 3}
    generator = torch.Generator().manual_seed(1)

    def draw(spec: TensorSpec) -> Tensor:
        return torch.randn([sizes[size] if isinstance(size, str) else size for size in spec.shape], generator=generator)

    return Example(specs=specs, values={spec.name: draw(spec) for spec in specs}, outputs=outputs)


def one_input(*shape: int | str) -> Example:
    return example(spec("x", *shape))


def with_values(inputs: Example, values: Mapping[str, Tensor]) -> Example:
    return dataclasses.replace(inputs, values=values)


def mixed() -> tuple[torch.nn.Module, Example]:
    torch.manual_seed(0)
    return Mixed().eval(), example(spec("image", "batch", 32, 8, 8))


def boundaries(exporter: str) -> tuple[torch.nn.Module, Example]:
    torch.manual_seed(0)
    return Boundaries(exporter).eval(), example(spec("x", "batch", 8, 5, 6))


def linear(dtype: torch.dtype) -> tuple[torch.nn.Module, Example]:
    inputs = one_input("batch", 4)
    return torch.nn.Linear(4, 4).eval().to(dtype), with_values(inputs, {"x": inputs.values["x"].to(dtype)})


def export(
    name: str,
    module: torch.nn.Module,
    example: Example,
    folder: Path,
    opsets: Sequence[int] = (20,),
    dims: Mapping[str, Dim] = BATCH,
    **options: object,
) -> list[Emission]:
    folder.mkdir(exist_ok=True)
    items = list(EXPORTERS[name](module, example, dims, opsets, {**OPTIONS[name], **options}, folder))
    assert all(isinstance(item, Progress | Emission) for item in items)
    return [item for item in items if isinstance(item, Emission)]


def answers(path: Path, example: Example) -> list[np.ndarray]:
    """What the file answers, after the full checker accepted it."""
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    known = [value.name for value in session.get_inputs()]
    return session.run(None, {name: example.values[name].numpy() for name in known})


def assert_equal(path: Path, module: torch.nn.Module, example: Example) -> None:
    with torch.no_grad():
        expected = module(*example.args, **example.kwargs)
    np.testing.assert_allclose(answers(path, example)[0], expected.numpy(), rtol=1e-4, atol=1e-5)
