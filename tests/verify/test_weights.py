from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from exporters.base import Dim, TensorSpec
from orchestrator.result import Check, CheckStatus, Finding
from orchestrator.spec import CaseSpec, ModelSpec, OutputSpec
from orchestrator.verify import weights
from orchestrator.verify.base import Candidate
from tests.verify import samples

BOTH = ("torchscript", "dynamo")


class Net(torch.nn.Module):
    """A convolution with batch norm, a bare batch norm, and square matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.first = torch.nn.Linear(16, 16)
        self.second = torch.nn.Linear(16, 16)
        self.last = torch.nn.BatchNorm1d(16)
        for norm in (self.norm, self.last):
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                torch.nn.init.uniform_(tensor, 0.5, 1.5)  # type: ignore[arg-type]

    def forward(self, image: torch.Tensor) -> Any:
        rows = torch.relu(self.norm(self.conv(image))).flatten(2)
        return self.last((torch.relu(self.second(torch.relu(self.first(rows)))) + rows).sum(1))


def model(*shape: int | str, dtype: str = "float32", **changes: Any) -> ModelSpec:
    spec = TensorSpec(name="values", shape=shape, dtype=dtype, **changes)
    dims = {size: Dim(name=size, min=1, max=9) for size in shape if isinstance(size, str)}
    return replace(samples.PAIR, dims=dims, inputs=(spec,), outputs=(OutputSpec(name="answer"),))


IMAGE = model("batch", 3, 6, 6)
ROWS = model("batch", 8)
SEQUENCE = model("batch", "length", 8)
TOKENS = model("batch", 7, dtype="int64", generator="uniform", range=(0, 11))


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Candidate]:
    module = samples.seeded(Net)
    return {exporter: samples.make(tmp_path_factory.mktemp(exporter), module, IMAGE, exporter) for exporter in BOTH}


def folder(path: Path) -> Path:
    """For a good artifact, beside the damaged copy."""
    (path / "good").mkdir()
    return path / "good"


def judged(candidate: Candidate) -> tuple[Check, list[Finding]]:
    verdict = weights.check(samples.subject(candidate))
    return verdict.check, list(verdict.findings)


def damaged(good: Candidate, folder: Path, edit: Callable[[onnx.ModelProto], Any]) -> Check:
    shutil.copytree(good.folder, folder, dirs_exist_ok=True)
    return judged(samples.damaged(replace(good, folder=folder), edit))[0]


def initializer(graph: onnx.GraphProto, op_type: str, position: int) -> onnx.TensorProto:
    name = next(node.input[position] for node in graph.node if node.op_type == op_type)
    return next(tensor for tensor in graph.initializer if tensor.name == name)


def changed(op_type: str, position: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[onnx.ModelProto], None]:
    def edit(proto: onnx.ModelProto) -> None:
        tensor = initializer(proto.graph, op_type, position)
        before = numpy_helper.to_array(tensor)
        values = np.ascontiguousarray(change(before), before.dtype)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    return edit


def one_element(values: np.ndarray, factor: float = 1.001) -> np.ndarray:
    values = values.copy()
    values.reshape(-1)[3] *= values.dtype.type(factor)
    return values


FAULTS = {
    "one element of a product": changed("MatMul", 1, one_element),
    "a whole product": changed("MatMul", 1, lambda values: values * 1.01),
    "a square matrix transposed": changed("MatMul", 1, np.transpose),
    "through half and back": changed("MatMul", 1, lambda values: values.astype(np.float16)),
    "a bias of zeros": changed("Conv", 2, np.zeros_like),
    "one element of a folded convolution": changed("Conv", 1, one_element),
    "a mean that was reset": changed("BatchNormalization", 3, np.zeros_like),
    "a variance that was reset": changed("BatchNormalization", 4, np.ones_like),
}


@pytest.mark.parametrize("exporter", BOTH)
def test_a_clean_export_is_explained_as_a_whole(nets: dict[str, Candidate], exporter: str) -> None:
    check, findings = judged(nets[exporter])
    assert check.status is CheckStatus.PASSED
    assert check.detail == "14 tensors that the model uses are carried; 100.0% of the constants are theirs"
    assert findings == []


@pytest.mark.parametrize("exporter", BOTH)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_weight_is_told(nets: dict[str, Candidate], tmp_path: Path, exporter: str, fault: str) -> None:
    check = damaged(nets[exporter], tmp_path, FAULTS[fault])
    assert check.status is CheckStatus.FAILED
    assert "elements differ" in check.detail or "multiplied transposed" in check.detail


@pytest.mark.parametrize(
    ("exporter", "half", "factor"),
    [("torchscript", "float16", 1.01), ("dynamo", "float16", 1.01), ("torchscript", "bfloat16", 1.1)],
)
def test_a_batch_norm_that_is_folded_in_half_precision_is_recognised_and_a_wrong_element_told(
    tmp_path: Path, exporter: str, half: str, factor: float
) -> None:
    module = samples.seeded(Net).to(getattr(torch, half))
    good = samples.make(folder(tmp_path), module, IMAGE, exporter, dtype=half)
    assert judged(good)[0].status is CheckStatus.PASSED
    damage = changed("Conv", 1, functools.partial(one_element, factor=factor))
    assert "of 108 elements differ" in damaged(good, tmp_path, damage).detail


class Neutral(torch.nn.Module):
    """A batch norm as it is before training: in float16 it rounds to doing nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = torch.nn.Linear(8, 16)
        self.norm = torch.nn.BatchNorm1d(16)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.wide(values)))


@pytest.mark.parametrize("exporter", BOTH)
@pytest.mark.parametrize("position", [1, 2])
def test_a_fold_that_changes_no_bit_is_recognised_and_a_wrong_element_told(
    tmp_path: Path, exporter: str, position: int
) -> None:
    good = samples.make(folder(tmp_path), samples.seeded(Neutral).half(), ROWS, exporter, dtype="float16")
    assert judged(good)[0].status is CheckStatus.PASSED
    damage = changed("Gemm", position, functools.partial(one_element, factor=1.01))
    assert damaged(good, tmp_path, damage).status is CheckStatus.FAILED


@pytest.mark.parametrize("exporter", BOTH)
@pytest.mark.parametrize("renamed", [False, True])
def test_two_matrices_in_each_others_place_are_told_with_and_without_names(
    nets: dict[str, Candidate], tmp_path: Path, exporter: str, renamed: bool
) -> None:
    def edit(proto: onnx.ModelProto) -> None:
        nodes = [node for node in proto.graph.node if node.op_type == "MatMul"]
        nodes[0].input[1], nodes[1].input[1] = nodes[1].input[1], nodes[0].input[1]
        if renamed:
            rename(proto)

    check = damaged(nets[exporter], tmp_path, edit)
    assert check.status is CheckStatus.FAILED
    assert "are in each other's place" in check.detail
    assert "first.weight" in check.detail
    assert "second.weight" in check.detail


def rename(proto: onnx.ModelProto) -> None:
    for number, tensor in enumerate(proto.graph.initializer):
        for node in proto.graph.node:
            node.input[:] = [f"w{number}" if name == tensor.name else name for name in node.input]
        tensor.name = f"w{number}"


@pytest.mark.parametrize("exporter", BOTH)
def test_harmless_changes_are_no_alarm(nets: dict[str, Candidate], tmp_path: Path, exporter: str) -> None:
    check = damaged(nets[exporter], tmp_path, rename)
    assert check.status is CheckStatus.PASSED, check.detail


def test_values_under_the_name_of_another_are_told(tmp_path: Path) -> None:
    good = samples.make(
        folder(tmp_path),
        samples.seeded(lambda: torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))),
        ROWS,
    )

    def edit(proto: onnx.ModelProto) -> None:
        one, other = (next(t for t in proto.graph.initializer if t.name == f"{layer}.weight") for layer in (0, 1))
        one.name, other.name = other.name, one.name

    check = damaged(good, tmp_path / "bad", edit)
    assert check.status is CheckStatus.FAILED
    assert "the initializer 0.weight holds 1.weight" in check.detail


def test_a_weight_that_is_gone_is_told(tmp_path: Path) -> None:
    class Branches(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loud, self.quiet = torch.nn.Linear(8, 3), torch.nn.Linear(8, 3)

        def forward(self, values: torch.Tensor) -> Any:
            return self.loud(values) if values.abs().mean() > 0.1 else self.quiet(values)

    quiet = CaseSpec(name="quiet", inputs=(replace(ROWS.inputs[0], generator="uniform", range=(-0.01, 0.01)),))
    check, _ = judged(samples.make(tmp_path, samples.seeded(Branches), replace(ROWS, cases=(quiet,))))
    assert "quiet.weight is used by the model and carried by no initializer" in check.detail


# What exporters do to weights


class Recurrent(torch.nn.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.rnn = kind(8, 5, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, values: torch.Tensor) -> Any:
        return self.rnn(values)[0]


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(11, 6)
        self.place = torch.nn.Embedding(32, 6)
        self.register_buffer("places", torch.arange(32))

    def forward(self, values: torch.Tensor) -> Any:
        hidden = self.table(values) + self.place(self.places[: values.shape[1]])  # type: ignore[index]
        return hidden @ self.table.weight.T


class Attention(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, values: torch.Tensor) -> Any:
        return self.attention(values, values, values, need_weights=False)[0]


class Computed(torch.nn.Module):
    """Weights that are made of others in every forward."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(8, 8))
        self.scale = torch.nn.Parameter(torch.rand(8))
        self.table = torch.nn.Parameter(torch.rand(5, 8))
        self.register_buffer("index", torch.tensor([4, 2, 0, 1, 3, 2, 1, 0]))

    def forward(self, values: torch.Tensor) -> Any:
        return self.inner(values) * self.scale.exp() + self.table[self.index].sum(0)  # type: ignore[index]


def transposed() -> torch.nn.Module:
    layers = torch.nn.Sequential(torch.nn.ConvTranspose2d(3, 6, 3, groups=3, bias=False), torch.nn.BatchNorm2d(6))
    torch.nn.init.uniform_(layers[1].running_mean, -1, 1)  # type: ignore[arg-type]
    return layers


def normalised() -> torch.nn.Module:
    layers = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    torch.nn.init.uniform_(layers[1].running_mean, -1, 1)  # type: ignore[arg-type]
    return layers


MODELS: dict[str, tuple[Callable[[], torch.nn.Module], ModelSpec]] = {
    "lstm": (lambda: Recurrent(torch.nn.LSTM), SEQUENCE),
    "gru": (lambda: Recurrent(torch.nn.GRU), SEQUENCE),
    "rnn": (lambda: Recurrent(torch.nn.RNN), SEQUENCE),
    "tied": (Tied, TOKENS),
    "attention": (Attention, SEQUENCE),
    "computed": (Computed, ROWS),
    "grouped transposed convolution": (transposed, IMAGE),
    "product and batch norm": (normalised, ROWS),
}


NOT_SCRIPTED = ("computed", "attention")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("exporter", ["torchscript", "torchscript_script", pytest.param("dynamo", marks=pytest.mark.slow)])
def test_what_exporters_make_of_weights_is_recognised(tmp_path: Path, name: str, exporter: str) -> None:
    if exporter == "torchscript_script" and name in NOT_SCRIPTED:
        pytest.skip("torch.jit.script does not compile it, or the exporter has no translation")
    factory, spec = MODELS[name]
    check, findings = judged(samples.make(tmp_path, samples.seeded(factory), spec, exporter))
    assert check.status is CheckStatus.PASSED, check.detail
    assert [finding.message for finding in findings if finding.kind.startswith(("weights", "constants"))] == []


def test_a_wrong_order_of_gates_is_told(tmp_path: Path) -> None:
    good = samples.make(folder(tmp_path), samples.seeded(lambda: Recurrent(torch.nn.LSTM)), SEQUENCE)
    turn = changed("LSTM", 1, lambda values: values[:, [*range(5, 20), *range(5)]])
    assert damaged(good, tmp_path / "bad", turn).status is CheckStatus.FAILED


def test_a_fault_in_what_was_folded_out_of_weights_is_told(tmp_path: Path) -> None:
    good = samples.make(folder(tmp_path), samples.seeded(Computed), ROWS, "dynamo")
    assert judged(good)[0].status is CheckStatus.PASSED
    for op_type in ("Gemm", "Mul", "Add"):
        check = damaged(good, tmp_path / op_type, changed(op_type, 1, one_element))
        assert check.status is CheckStatus.FAILED
        assert "elements differ" in check.detail


def test_a_model_without_weights_has_nothing_to_check(tmp_path: Path) -> None:
    check, _ = judged(samples.make(tmp_path, torch.nn.ReLU(), ROWS))
    assert check.status is CheckStatus.NOT_APPLICABLE


def test_a_parameter_that_the_model_never_uses_is_found(tmp_path: Path) -> None:
    class Extra(torch.nn.Linear):
        def __init__(self) -> None:
            super().__init__(8, 3)
            self.idle = torch.nn.Parameter(torch.rand(4))

    check, findings = judged(samples.make(tmp_path, samples.seeded(Extra), ROWS))
    assert check.status is CheckStatus.PASSED
    assert [finding.message for finding in findings] == ["the model never uses idle"]


def test_a_constant_that_is_no_weight_is_found(tmp_path: Path) -> None:
    class Window(torch.nn.Linear):
        def forward(self, values: torch.Tensor) -> Any:
            return super().forward(values * torch.hann_window(8))

    check, findings = judged(samples.make(tmp_path, samples.seeded(lambda: Window(8, 3)), ROWS))
    assert check.status is CheckStatus.PASSED, check.detail
    assert [finding.kind for finding in findings] == ["constants_without_counterpart"]


def test_a_weight_that_became_a_python_number_is_not_traceable_and_said_to_be(tmp_path: Path) -> None:
    class Number(torch.nn.Linear):
        def __init__(self) -> None:
            super().__init__(8, 3)
            self.register_buffer("scale", torch.tensor(0.3))

        def forward(self, values: torch.Tensor) -> Any:
            return super().forward(values) * (2 * self.scale.item())  # type: ignore[operator]

    check, findings = judged(samples.make(tmp_path, samples.seeded(Number), ROWS))
    assert check.status is CheckStatus.PASSED, check.detail
    assert [finding.message for finding in findings if finding.kind == "weights_not_traceable"] == [
        "not traceable in the artifact: scale (eager reads it as a Python number)"
    ]


class Positions(torch.nn.Module):
    """Multiplies a weight by a buffer only, for as many rows as there are: exporters leave the product to the runtime."""

    def __init__(self) -> None:
        super().__init__()
        self.project = torch.nn.Linear(3, 8)
        self.register_buffer("grid", torch.arange(15.0).reshape(1, 5, 3))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.project(self.grid.expand(len(values), -1, -1)).sum(1) / 20) * values


@pytest.mark.parametrize("exporter", BOTH)
def test_a_weight_that_only_meets_constants_is_found_in_the_layout_in_which_it_meets_them(
    tmp_path: Path, exporter: str
) -> None:
    good = samples.make(folder(tmp_path), samples.seeded(Positions), ROWS, exporter)
    check, _ = judged(good)
    assert check.status is CheckStatus.PASSED, check.detail


def test_and_an_element_of_it_that_was_changed_is_told(tmp_path: Path) -> None:
    good = samples.make(folder(tmp_path), samples.seeded(Positions), ROWS, "torchscript")
    check = damaged(good, tmp_path, changed("MatMul", 1, one_element))
    assert check.status is CheckStatus.FAILED
    assert "project.weight is not what" in check.detail
