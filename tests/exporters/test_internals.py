from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch.onnx._internal.exporter import _decomp, _fx_passes
from torch.onnx._internal.exporter._registration import ONNXRegistry

from exporters import internals

CONTEXTS = pytest.mark.parametrize("context", [internals.one_registry, internals.decomposed_once])


def functions(opset: int) -> dict[object, list[object]]:
    found = ONNXRegistry.from_torchlib(opset_version=opset)
    assert found.opset_version == opset
    return {target: [meta.onnx_function for meta in metas] for target, metas in found.functions.items()}


@pytest.mark.parametrize("opset", [18, 20, 23])
def test_the_kept_registry_has_the_functions_that_torch_would_register(opset: int) -> None:
    alone = functions(opset)
    with internals.one_registry():
        assert functions(opset) == alone


def test_what_one_export_registers_is_not_in_the_next() -> None:
    with internals.one_registry():
        ONNXRegistry.from_torchlib(opset_version=20).register_op(torch.ops.aten.relu.default, lambda x: x)
        assert len(ONNXRegistry.from_torchlib(opset_version=20).get_decomps(torch.ops.aten.relu.default)) == 1


def test_a_program_is_decomposed_only_where_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    program = torch.export.export(torch.nn.RMSNorm(4), (torch.ones(2, 4),))
    decomposed: list[int] = []
    monkeypatch.setattr(
        _fx_passes, "decompose_with_registry", lambda program, registry: decomposed.append(registry.opset_version) or program
    )
    with internals.decomposed_once():
        for opset in (23, 18):
            registry = ONNXRegistry.from_torchlib(opset_version=opset)
            assert _fx_passes.decompose_with_registry(program, registry) is program
    assert decomposed == [18]


@CONTEXTS
def test_another_release_of_torch_is_left_alone(
    context: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(internals, "KNOWN_RELEASE", "1.0.")
    before = (ONNXRegistry.from_torchlib, _fx_passes.decompose_with_registry, _decomp)
    with context():
        assert (ONNXRegistry.from_torchlib, _fx_passes.decompose_with_registry, _decomp) == before


@CONTEXTS
def test_torch_is_as_it_was_afterwards(context: Callable[[], AbstractContextManager[None]]) -> None:
    before = (ONNXRegistry.from_torchlib, _fx_passes.decompose_with_registry)
    with context():
        assert (ONNXRegistry.from_torchlib, _fx_passes.decompose_with_registry) != before
    assert (ONNXRegistry.from_torchlib, _fx_passes.decompose_with_registry) == before
