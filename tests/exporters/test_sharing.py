from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from exporters import sharing
from exporters.base import Example
from exporters.registry import EXPORTERS
from orchestrator.build import module as module_builder
from orchestrator.result import Status
from orchestrator.verify import probes
from tests.declared import NAMES, declared
from tests.exporters import samples

SMALL = ("early_exit", "lstm")
"""Of the zoo, compared at some opsets; `make test-all` compares all models at all opsets."""
SOME = (18, 19, 23)
MODELS = [
    *(pytest.param(name, SOME, id=name) for name in SMALL),
    *(pytest.param(name, tuple(sharing.OPSETS), id=f"{name}-all", marks=pytest.mark.slow) for name in NAMES),
]
OTHER_OPTIONS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "dynamo": ({"optimize": False}, {"strict": True}, {"keep_initializers_as_inputs": True}),
    "torchscript": ({"do_constant_folding": False}, {"keep_initializers_as_inputs": True}),
    "torchscript_script": ({"do_constant_folding": False},),
}


@functools.cache
def _declared(name: str) -> tuple[torch.nn.Module, Example, Mapping[str, Any]]:
    built = module_builder.build(declared(name), "float32", ("*",), Path())
    specs = module_builder.exported_specs(built.model)
    values = probes.draw(specs, probes.example_sizes(built.model.dims, specs), 0, "float32")
    outputs = tuple(output.name for output in built.model.outputs)
    return built.module, Example(specs=specs, values=values, outputs=outputs), built.model.dims


def _differences(
    name: str,
    module: torch.nn.Module,
    example: Example,
    dims: Mapping[str, Any],
    folder: Path,
    opsets: Sequence[int] = tuple(sharing.OPSETS),
    **options: Any,
) -> list[str]:
    """Where the opsets that were exported at once differ from exports of their own, by torch's public functions alone."""
    shared = {one.opset: one for one in samples.export(name, module, example, folder / "shared", opsets, dims, **options)}
    assert sorted(shared) == sorted(opsets)
    found = []
    with pytest.MonkeyPatch.context() as without:
        without.setattr("exporters.internals.KNOWN_RELEASE", "none")
        for opset in opsets:
            (alone,) = samples.export(name, module, example, folder / f"alone{opset}", (opset,), dims, **options)
            assert (alone.made_from, alone.files) == ("exported", shared[opset].files)
            if (alone.ranges, alone.sources) != (shared[opset].ranges, shared[opset].sources):
                found.append(f"opset {opset}: what is told of it")
            for file in alone.files:
                if (folder / f"alone{opset}" / file).read_bytes() != (folder / "shared" / file).read_bytes():
                    found.append(f"opset {opset}: {file}")
    return found


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(("model", "opsets"), MODELS)
def test_what_is_shared_is_what_each_opset_would_get_alone(
    model: str, opsets: tuple[int, ...], exporter: str, tmp_path: Path
) -> None:
    known = [issue.cells for issue in declared(model).known_issues if issue.status is Status.EXPORT_FAILED]
    if f"{model}-{exporter}-*" in known:
        pytest.skip("this exporter does not export the model")
    module, example, dims = _declared(model)
    assert _differences(exporter, module, example, dims, tmp_path, opsets) == []


@pytest.mark.parametrize(("exporter", "options"), [(name, given) for name, all_ in OTHER_OPTIONS.items() for given in all_])
def test_so_it_is_with_other_options(exporter: str, options: dict[str, Any], tmp_path: Path) -> None:
    module, example = samples.mixed()
    assert _differences(exporter, module, example, samples.BATCH, tmp_path, SOME, **options) == []


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_every_boundary_between_opsets_is_respected(exporter: str, tmp_path: Path) -> None:
    module, example = samples.boundaries(exporter)
    assert _differences(exporter, module, example, samples.BATCH, tmp_path) == []


@pytest.mark.parametrize(("exporter", "rule"), [("dynamo", "DYNAMO"), ("torchscript", "TORCHSCRIPT")])
def test_the_comparison_sees_a_sharing_that_goes_too_far(
    exporter: str, rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, example = samples.boundaries(exporter)
    monkeypatch.setattr(sharing, rule, {23 if exporter == "dynamo" else 20: frozenset({"NoSuchOperator"})})
    assert _differences(exporter, module, example, samples.BATCH, tmp_path)


def test_how_each_was_made_is_told(tmp_path: Path) -> None:
    module, example = samples.boundaries("dynamo")
    made = {one.opset: one.made_from for one in samples.export("dynamo", module, example, tmp_path, (23, 22, 20, 19, 18))}
    assert made == {18: "fed_back", 19: "stamped", 20: "fed_back", 22: "fed_back", 23: "exported"}


@pytest.mark.parametrize(
    ("exporter", "options", "dtype", "reason"),
    [
        ("dynamo", {}, torch.float16, "torch.float16 tensors"),
        ("torchscript", {}, torch.bfloat16, "torch.bfloat16 tensors"),
        ("torchscript", {"export_modules_as_functions": True}, torch.float32, "exporter.export_modules_as_functions is given"),
    ],
)
def test_sharing_steps_aside_where_it_was_not_compared(
    exporter: str, options: dict[str, Any], dtype: torch.dtype, reason: str, tmp_path: Path
) -> None:
    emissions = samples.export(exporter, *samples.linear(dtype), tmp_path, (20, 21), **options)
    assert [one.made_from for one in emissions] == ["exported", "exported"]
    assert all(reason in str(one.alone) for one in emissions)
    (single,) = samples.export(exporter, *samples.linear(dtype), tmp_path / "single", (20,), **options)
    assert single.alone is None


@pytest.mark.parametrize("fails", [23, 18])
def test_what_fails_shared_is_exported_alone_and_costs_the_others_nothing(
    fails: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_ = torch.onnx.export

    def failing(model: Any, *args: Any, opset_version: int, **kwargs: Any) -> Any:
        fed_back = isinstance(model, torch.export.ExportedProgram)
        if opset_version == fails and (fed_back or fails == sharing.BASE):
            raise RuntimeError("no translation")
        return export_(model, *args, opset_version=opset_version, **kwargs)

    monkeypatch.setattr(torch.onnx, "export", failing)
    found = {one.opset: one for one in samples.export("dynamo", *samples.boundaries("dynamo"), tmp_path, (18, 20))}
    made = {18: "exported", 20: "exported" if fails == sharing.BASE else "fed_back"}
    assert {opset: one.made_from for opset, one in found.items()} == made
    assert "no translation" in str(found[18].alone)
