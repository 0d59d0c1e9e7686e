from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from exporters.base import Dim, TensorSpec
from orchestrator.build import module as module_builder
from orchestrator.build.adapter import Adapter
from orchestrator.build.module import BuildError, exported_specs
from orchestrator.build.trust import UntrustedError
from orchestrator.spec import BuildSpec, ModelSpec, OutputSpec, WeightsSpec

FACTORIES = "factories_of_models"
TRUST = (f"{FACTORIES}.*",)
X = TensorSpec(name="x", shape=("batch", 3), dtype="float32")


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was called of the factories beside this file."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import factories_of_models  # type: ignore[import-not-found]

    yield factories_of_models.CALLS
    del sys.modules[FACTORIES]


def model(target: str, arguments: Mapping[str, Any] | None = None, **changes: Any) -> ModelSpec:
    return ModelSpec(
        **{
            "name": "model",
            "build": BuildSpec(target=f"{FACTORIES}.{target}", arguments=arguments or {}),
            "weights": WeightsSpec(seed=0),
            "dims": {"batch": Dim(name="batch", min=2, max=8)},
            "inputs": (X,),
            "outputs": (),
            "config_path": "conf/model/model.yaml",
            **changes,
        }
    )


def built(model: ModelSpec, dtype: str = "float32") -> module_builder.Built:
    return module_builder.build(model, dtype, TRUST, Path("no store is needed"))


def build(model: ModelSpec, dtype: str = "float32") -> torch.nn.Module:
    return built(model, dtype).module


def test_nodes_in_arguments_lists_and_mappings_are_built_first(calls: list[str]) -> None:
    node = {"_target_": f"{FACTORIES}.part", "value": 1}
    module = build(model("Net", {"inner": {"a": node}, "parts": [2, {**node, "value": 3}]}))
    assert module.inner == {"a": 1}
    assert module.parts == [2, 3]
    assert calls == ["part 1", "part 3", "Net"]


def test_nothing_is_called_if_anything_is_refused(calls: list[str]) -> None:
    hostile = {"parts": [{"_target_": f"{FACTORIES}.part", "value": 1}, {"_target_": "os.system", "command": "true"}]}
    for arguments in (hostile, {"pretrained": True}):
        with pytest.raises(UntrustedError):
            build(model("Net", arguments))
    assert calls == []


def test_the_same_declaration_gives_the_same_weights_in_every_dtype() -> None:
    single, double = (build(model("Net"), dtype).state_dict() for dtype in ("float32", "float64"))
    assert double["linear.weight"].dtype is torch.float64
    assert all(torch.equal(single[name], double[name].to(single[name].dtype)) for name in single)


def test_the_generator_of_the_process_is_left_as_it_was() -> None:
    before = torch.get_rng_state()
    build(model("Net"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_module_is_in_the_declared_mode_and_its_statistics_are_as_drawn(mode: str) -> None:
    module = build(model("Net", mode=mode))
    assert all(part.training is (mode == "train") for part in module.modules())
    assert int(module.state_dict()["norm.num_batches_tracked"]) == 0


@pytest.mark.parametrize(("kind", "wrapped"), [("tensor", False), ("tuple", False), ("list", True), ("dataclass", True)])
def test_a_module_that_does_not_say_what_it_answers_is_called_once_to_see(kind: str, wrapped: bool) -> None:
    module = build(model("Net", {"kind": kind}))
    assert isinstance(module, Adapter) is wrapped
    inner = module.inner if isinstance(module, Adapter) else module
    assert inner.forwards == 1


def test_an_annotation_is_believed_without_a_call() -> None:
    assert not isinstance(build(model("Annotated", outputs=(OutputSpec(name="y"), OutputSpec(name="z")))), Adapter)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_selected_fields_come_in_their_order(dtype: str) -> None:
    module = build(model("Net", {"kind": "dataclass"}, select=("pooled", "hidden")), dtype)
    answer = module(torch.zeros(2, 3, dtype=getattr(torch, dtype)))
    assert [tuple(tensor.shape) for tensor in answer] == [(2, 1), (2, 4)]


def test_outputs_without_names_are_named_after_their_places_and_renamed() -> None:
    declared = model("Net", {"kind": "dataclass"}, rename={"pooled": "summary"})
    assert [output.name for output in built(declared).model.outputs] == ["hidden", "summary"]
    assert [output.name for output in built(model("Net", {"kind": "tuple"})).model.outputs] == ["output.0", "output.1"]


def test_declared_names_are_kept() -> None:
    declared = model("Net", outputs=(OutputSpec(name="y", rtol=0.1),))
    assert built(declared).model == declared


def test_an_exportable_module_completes_its_declaration_and_is_wrapped() -> None:
    longer = {"sequence": Dim(name="sequence", min=2, max=64)}
    found = built(model("Exportable", inputs=(), dims=longer, exportable=True))
    assert [(spec.name, spec.shape) for spec in found.model.inputs] == [
        ("ids", ("batch", "sequence")),
        ("weight", ("batch", 4)),
        ("mask", ("batch", "sequence")),
    ]
    assert found.model.dims == {"batch": Dim(name="batch", min=1, max=8), **longer}
    assert [output.name for output in found.model.outputs] == ["hidden", "parts.0"]
    assert isinstance(found.module, Adapter)
    tokens = torch.tensor([[1, 2]])
    hidden, _ = found.module(tokens, torch.ones(1, 4), torch.tensor([[True, False]]))
    assert bool((hidden[0, 1] == 0).all())


def test_a_module_that_declares_nothing_is_a_build_error() -> None:
    with pytest.raises(BuildError, match=r"is a Net and no torch\.onnx\.ExportableModule"):
        build(model("Net", inputs=(), dims={}, exportable=True))


def test_weights_from_an_address_are_kept_in_the_store(tmp_path: Path) -> None:
    torch.save({"model": {"net.linear.weight": torch.ones(4, 3)}}, tmp_path / "w.pth")
    digest = hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()
    weights = WeightsSpec(url=(tmp_path / "w.pth").as_uri(), sha256=digest, key="model", prefix="net.", strict=False)
    declared = model("Net", weights=weights)
    module = module_builder.build(declared, "float32", TRUST, tmp_path / "store").module
    assert bool((module.linear.weight == 1).all())
    assert (tmp_path / "store" / "downloads" / digest / "w.pth").is_file()


def test_keyword_inputs_are_taken_by_position() -> None:
    scale = TensorSpec(name="scale", shape=("batch", 1), dtype="float32", keyword=True)
    declared = model("Keyword", inputs=(X, scale))
    assert [(spec.name, spec.keyword) for spec in exported_specs(declared)] == [("x", False), ("scale", False)]
    module = build(declared)
    [answer] = module(torch.ones(2, 3), torch.full((2, 1), 5.0))
    assert torch.equal(answer, torch.full((2, 3), 5.0))


def test_a_factory_that_raises_is_told_in_one_line_with_the_config() -> None:
    with pytest.raises(BuildError) as caught:
        build(model("raising"))
    assert str(caught.value) == f"conf/model/model.yaml: {FACTORIES}.raising: ValueError: no such width: 3"
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        ("no_module", {}, "returned a int, no torch.nn.Module"),
        ("Net", {"wdith": 3}, "unexpected keyword argument 'wdith'"),
        ("Nett", {}, "has no `Nett`; near names: Net"),
    ],
)
def test_what_cannot_be_built_is_a_build_error(target: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BuildError, match=message):
        build(model(target, arguments))


def test_weights_that_do_not_fit_are_a_build_error(tmp_path: Path) -> None:
    torch.save({"linear.weight": torch.zeros(4, 3)}, tmp_path / "w.pth")
    with pytest.raises(BuildError, match="WeightsError: the weights do not fit"):
        build(model("Net", weights=WeightsSpec(file=str(tmp_path / "w.pth"))))


def test_parameters_keep_their_gradients_because_attention_would_else_take_a_path_that_does_not_export() -> None:
    assert all(parameter.requires_grad for parameter in build(model("Net")).parameters())
