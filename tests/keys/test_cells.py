from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exporters.base import Dim, TensorSpec
from orchestrator.keys import cells
from orchestrator.keys.cells import Keys
from orchestrator.keys.digests import of_value
from orchestrator.keys.semantics import EXPORTED, VERIFIED
from orchestrator.result import Status
from orchestrator.spec import (
    BuildSpec,
    CaseSpec,
    Cell,
    ExporterSpec,
    KnownIssue,
    Limits,
    ModelSpec,
    OutputSpec,
    Target,
    Unit,
    VerifyLevel,
    VerifySpec,
    WeightsSpec,
)

ROOT = Path(__file__).parents[2]
IMAGE = TensorSpec(name="image", shape=("batch", 3, 8, 8), dtype="float32", generator="uniform", range=(-2.5, 2.5))
MASK = TensorSpec(name="mask", shape=("batch",), dtype="int64", keyword=True, generator="mask")
CPU = Target(name="cpu", device="cpu", provider="CPUExecutionProvider")
CELL = Cell(id="net-dynamo-opset20-float32-cpu", opset=20, target=CPU)
numbers = itertools.count()


@dataclass(frozen=True)
class Fleet:
    """A unit whose model is in a first-party package of its own, with weights in a file."""

    unit: Unit
    folder: Path

    def keys(self, cell: Cell = CELL, threads: int = 1, **changes: Any) -> tuple[str, str]:
        unit = replace(self.unit, **changes)
        keys = Keys(("*",))
        export = keys.export_key(unit, cell)
        return export.digest, keys.verify_key(unit, cell, export, threads=threads).digest

    def model(self, **changes: Any) -> tuple[str, str]:
        return self.keys(model=replace(self.unit.model, **changes))

    def verify(self, **changes: Any) -> tuple[str, str]:
        return self.keys(verify=replace(self.unit.verify, **changes))

    def exporter(self, **changes: Any) -> tuple[str, str]:
        return self.keys(exporter=replace(self.unit.exporter, **changes))

    def build(self, **changes: Any) -> tuple[str, str]:
        return self.model(build=replace(self.unit.model.build, **changes))

    def weights(self, **changes: Any) -> tuple[str, str]:
        return self.model(weights=replace(self.unit.model.weights, **changes))

    def input(self, **changes: Any) -> tuple[str, str]:
        return self.model(inputs=(replace(IMAGE, **changes), MASK))

    def dim(self, **changes: Any) -> tuple[str, str]:
        return self.model(dims={"batch": replace(self.unit.model.dims["batch"], **changes)})

    def output(self, **changes: Any) -> tuple[str, str]:
        return self.model(outputs=(replace(self.unit.model.outputs[0], **changes),))

    def case(self, **changes: Any) -> tuple[str, str]:
        return self.model(cases=(replace(self.unit.model.cases[0], **changes),))


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    # Where modules are is remembered for the life of the process, so that each test needs names of its own.
    name = f"keyed{next(numbers)}"
    package = tmp_path / "code" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text(f"import torch\nfrom {name}.layers import Layer\n\nclass Net(torch.nn.Module): ...\n")
    (package / "other.py").write_text("import torch\n\nclass Net(torch.nn.Module): ...\n\ndef translate(x): ...\n")
    (package / "layers.py").write_text("class Layer: ...\n")
    (tmp_path / "net.safetensors").write_bytes(b"weights")
    monkeypatch.syspath_prepend(package.parent)
    return Fleet(_unit(name, tmp_path / "net.safetensors"), package)


def _unit(package: str, weights: Path) -> Unit:
    model = ModelSpec(
        name="net",
        build=BuildSpec(target=f"{package}.net.Net", arguments={"depth": 2, "sizes": [1, 2], "parts": {"b": 1, "a": 2}}),
        weights=WeightsSpec(file=str(weights)),
        dims={"batch": Dim(name="batch", min=1, max=16)},
        inputs=(IMAGE, MASK),
        outputs=(OutputSpec(name="logits"),),
        rename={"out": "logits"},
        cases=(CaseSpec(name="quiet", inputs=(IMAGE, MASK)),),
    )
    return Unit(
        id="net-dynamo-float32",
        model=model,
        exporter=ExporterSpec(name="dynamo", options={"optimize": True, "custom_translation_table": None}),
        dtype="float32",
        verify=VerifySpec(level=VerifyLevel.STANDARD, seed=0, k=4.0),
        limits=Limits(seconds=60.0, memory=2**30, log=2**20),
        cells=(CELL,),
    )


def _other_weights(fleet: Fleet) -> tuple[str, str]:
    file = fleet.folder.parent / "other.bin"
    file.write_bytes(b"other weights")
    return fleet.weights(file=str(file))


def _same_weights(fleet: Fleet, **changes: Any) -> tuple[str, str]:
    file = fleet.folder / "elsewhere.safetensors"
    file.write_bytes(b"weights")
    return fleet.weights(file=str(file), **changes)


def _translated(fleet: Fleet) -> tuple[str, str]:
    table = {"torch.ops.aten.relu.default": f"{fleet.folder.name}.other.translate"}
    return fleet.exporter(options={"optimize": True, "custom_translation_table": table})


DIGEST = "a" * 64
URL = {"file": None, "url": "https://example.org/net.bin"}

Change = Callable[[Fleet], tuple[str, str]]

EXPORTS: Mapping[str, Change] = {
    "BuildSpec.target": lambda f: f.build(target=f"{f.folder.name}.other.Net"),
    "BuildSpec.arguments": lambda f: f.build(arguments={**f.unit.model.build.arguments, "depth": 3}),
    "BuildSpec.arguments, another type": lambda f: f.build(arguments={**f.unit.model.build.arguments, "depth": 2.0}),
    "BuildSpec.arguments, another order": lambda f: f.build(
        arguments={**f.unit.model.build.arguments, "parts": {"a": 2, "b": 1}}
    ),
    "BuildSpec.arguments, a nested node": lambda f: f.build(
        arguments={**f.unit.model.build.arguments, "sizes": [{"_target_": f"{f.folder.name}.layers.Layer"}]}
    ),
    "Dim.name": lambda f: f.dim(name="n"),
    "Dim.min": lambda f: f.dim(min=2),
    "Dim.max": lambda f: f.dim(max=None),
    "ExporterSpec.name": lambda f: f.exporter(name="torchscript"),
    "ExporterSpec.options": lambda f: f.exporter(options={"optimize": False, "custom_translation_table": None}),
    "ExporterSpec.options, a translation": _translated,
    "ModelSpec.build": lambda f: f.build(target=f"{f.folder.name}.layers.Layer"),
    "ModelSpec.mode": lambda f: f.model(mode="train"),
    "ModelSpec.dims": lambda f: f.model(dims={}),
    "ModelSpec.inputs": lambda f: f.model(inputs=(MASK, IMAGE)),
    "ModelSpec.outputs": lambda f: f.model(outputs=()),
    "ModelSpec.select": lambda f: f.model(select=("hidden",)),
    "ModelSpec.rename": lambda f: f.model(rename={"out": "scores"}),
    "ModelSpec.exportable": lambda f: f.model(exportable=True),
    "OutputSpec.name": lambda f: f.output(name="scores"),
    "OutputSpec.constant": lambda f: f.output(constant=True),
    "TensorSpec.name": lambda f: f.input(name="pixels"),
    "TensorSpec.shape": lambda f: f.input(shape=("batch", 3, 8, 9)),
    "TensorSpec.dtype": lambda f: f.input(dtype="int64"),
    "TensorSpec.keyword": lambda f: f.input(keyword=True),
    "TensorSpec.generator": lambda f: f.input(generator="normal"),
    "TensorSpec.range": lambda f: f.input(range=(-2.5, 2.0)),
    "VerifySpec.seed": lambda f: f.verify(seed=1),
    "WeightsSpec.seed": lambda f: f.weights(file=None, seed=0),
    "WeightsSpec.file, other bytes": _other_weights,
    "WeightsSpec.url": lambda f: f.weights(**URL, sha256=DIGEST),
    "WeightsSpec.key": lambda f: f.weights(key="model"),
    "WeightsSpec.prefix": lambda f: f.weights(prefix="net."),
    "WeightsSpec.strict": lambda f: f.weights(strict=False),
    "Unit.dtype": lambda f: f.keys(dtype="float16"),
    "Cell.opset": lambda f: f.keys(replace(CELL, opset=21)),
}
"""Changes after which another artifact may come out."""

VERDICTS: Mapping[str, Change] = {
    "CaseSpec.name": lambda f: f.case(name="loud"),
    "CaseSpec.inputs": lambda f: f.case(inputs=(replace(IMAGE, range=(0.0, 0.0)), MASK)),
    "ModelSpec.cases": lambda f: f.model(cases=()),
    "OutputSpec.rtol": lambda f: f.output(rtol=1e-3),
    "OutputSpec.atol": lambda f: f.output(atol=1e-3),
    "Target.device": lambda f: f.keys(replace(CELL, target=replace(CPU, device="cuda"))),
    "Target.provider": lambda f: f.keys(replace(CELL, target=replace(CPU, provider="reference"))),
    "VerifySpec.level": lambda f: f.verify(level=VerifyLevel.STRICT),
    "VerifySpec.k": lambda f: f.verify(k=5.0),
    "threads": lambda f: f.keys(threads=2),
}
"""Changes after which the artifact is the same, and its verdict need not be."""

NOTHING: Mapping[str, Change] = {
    "Cell.id": lambda f: f.keys(replace(CELL, id="another")),
    "Cell.swept": lambda f: f.keys(replace(CELL, swept=(("a", "b"),))),
    "Cell.skip": lambda f: f.keys(replace(CELL, skip="no worker")),
    "ModelSpec.name": lambda f: f.model(name="another"),
    "ModelSpec.known_issues": lambda f: f.model(known_issues=(KnownIssue(cells="*", status=Status.CHECK_FAILED, reason="so"),)),
    "ModelSpec.size": lambda f: f.model(size=7),
    "ModelSpec.config_path": lambda f: f.model(config_path="/another/net.yaml"),
    "Target.name": lambda f: f.keys(replace(CELL, target=replace(CPU, name="another"))),
    "Target.latency": lambda f: f.keys(replace(CELL, target=replace(CPU, latency=True))),
    "Unit.id": lambda f: f.keys(id="another"),
    "Unit.limits": lambda f: f.keys(limits=Limits(seconds=1.0, memory=1, log=1)),
    "Unit.estimate": lambda f: f.keys(estimate=1.0),
    "Unit.cells": lambda f: f.keys(cells=()),
    "WeightsSpec.file": _same_weights,
    "VerifySpec.k as YAML may give it": lambda f: f.verify(k=4),
    "tuples for lists": lambda f: f.build(arguments={**f.unit.model.build.arguments, "sizes": (1, 2)}),
}
"""Changes that change neither."""

BESIDE: Mapping[type, tuple[str, ...]] = {
    Cell: ("id", "opset", "target", "swept", "skip"),
    ModelSpec: ("name", "weights", "known_issues", "size", "config_path"),
    Target: ("name", "latency"),
    Unit: ("id", "model", "exporter", "dtype", "verify", "limits", "cells", "estimate"),
    WeightsSpec: ("seed", "file", "url", "package", "sha256", "key", "prefix", "strict"),
}
"""Fields that are in no table: they mean nothing, or a key takes them by itself; the changes above show which."""


@pytest.mark.parametrize("change", EXPORTS)
def test_what_an_artifact_is_made_from_changes_both_keys(fleet: Fleet, change: str) -> None:
    before, after = fleet.keys(), EXPORTS[change](fleet)
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize("change", VERDICTS)
def test_what_only_a_verdict_depends_on_changes_the_key_of_the_verdict_alone(fleet: Fleet, change: str) -> None:
    before, after = fleet.keys(), VERDICTS[change](fleet)
    assert before[0] == after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize("change", NOTHING)
def test_everything_else_changes_no_key(fleet: Fleet, change: str) -> None:
    assert fleet.keys() == NOTHING[change](fleet)


def test_what_eager_answers_depends_on_the_model_and_the_probes_and_on_no_exporter(fleet: Fleet) -> None:
    def key(threads: int = 1, **changes: Any) -> str:
        return Keys(("*",)).answers_key(replace(fleet.unit, **changes), threads=threads).digest

    unit, spec, model = fleet.unit, fleet.unit.verify, fleet.unit.model
    same = [
        key(exporter=ExporterSpec(name="torchscript", options={"do_constant_folding": True})),
        key(verify=replace(spec, k=spec.k + 1)),
        key(cells=(), estimate=3.0),
    ]
    others = [
        key(threads=2),
        key(dtype="float64" if unit.dtype != "float64" else "float32"),
        key(verify=replace(spec, seed=spec.seed + 1)),
        key(verify=replace(spec, level=VerifyLevel.STRICT)),
        key(model=replace(model, cases=())),
        key(model=replace(model, inputs=model.inputs[:1])),
        key(model=replace(model, weights=WeightsSpec(seed=7))),
    ]
    assert set(same) == {key()}
    assert len({*others, key()}) == len(others) + 1


def test_all_changes_lead_to_different_keys(fleet: Fleet) -> None:
    exported = {name: change(fleet)[0] for name, change in EXPORTS.items()}
    assert len({*exported.values(), fleet.keys()[0]}) == len(exported) + 1


@pytest.mark.parametrize("kind", sorted({*EXPORTED, *VERIFIED, *BESIDE}, key=str))
def test_nobody_forgets_a_field(kind: type) -> None:
    tables = {*EXPORTED.get(kind, ()), *VERIFIED.get(kind, ())}
    beside = set(BESIDE.get(kind, ()))
    assert tables & beside == set()
    assert {field.name for field in fields(kind)} == tables | beside


def test_each_field_of_a_table_has_a_change_above() -> None:
    def names(table: Mapping[type, tuple[str, ...]]) -> Iterator[str]:
        yield from (f"{kind.__name__}.{field}" for kind, chosen in table.items() for field in chosen)

    assert {*names(EXPORTED)} - EXPORTS.keys() == set()
    assert {*names(VERIFIED)} - EXPORTS.keys() - VERDICTS.keys() == set()


def test_the_digest_is_that_of_the_parts_as_a_report_keeps_them(fleet: Fleet) -> None:
    keys = Keys(())
    export = keys.export_key(fleet.unit, CELL)
    assert of_value(msgspec.json.decode(msgspec.json.encode(export.parts))) == export.digest
    assert str(fleet.folder.parent) not in json.dumps(export.parts)


def test_weights_from_an_address_are_those_of_a_file_with_its_digest(fleet: Fleet) -> None:
    sha256 = Keys(()).export_key(fleet.unit, CELL).parts["weights"]["sha256"]
    assert fleet.weights(**URL, sha256=sha256.upper()) == fleet.keys()
    assert fleet.weights(sha256=sha256) == fleet.keys()


def test_weights_of_a_package_are_found_without_importing_it(fleet: Fleet) -> None:
    (fleet.folder / "net.safetensors").write_bytes(b"weights")
    assert fleet.weights(package=fleet.folder.name, file="net.safetensors") == fleet.keys()
    assert fleet.folder.name not in sys.modules
    with pytest.raises(FileNotFoundError, match="the package no_such_package is not installed"):
        fleet.weights(package="no_such_package", file="net.safetensors")


def test_touching_files_changes_nothing(fleet: Fleet) -> None:
    before = fleet.keys()
    for file in (fleet.folder / "net.py", Path(str(fleet.unit.model.weights.file))):
        os.utime(file, (1, 1))
    assert fleet.keys() == before


def test_what_the_model_imports_counts_and_what_it_does_not_import_does_not(fleet: Fleet) -> None:
    before = fleet.keys()
    (fleet.folder / "other.py").write_text("# edited\n")
    assert fleet.keys() == before
    (fleet.folder / "layers.py").write_text("class Layer: '''edited'''\n")
    assert fleet.keys()[0] != before[0]


def test_whom_the_user_trusts_is_in_no_key(fleet: Fleet) -> None:
    trusting, strict = Keys((f"{fleet.folder.name}.*",)), Keys(())
    assert trusting.export_key(fleet.unit, CELL) == strict.export_key(fleet.unit, CELL)


def test_a_library_that_passes_on_another_one_counts_with_it(fleet: Fleet) -> None:
    build = BuildSpec(target="torchvision.models.resnet18", arguments={})
    code = Keys(()).export_key(replace(fleet.unit, model=replace(fleet.unit.model, build=build)), CELL).parts["code"]
    assert [*code["packages"]] == ["torchvision"]
    assert code["modules"] == {}


def test_our_own_models_count_by_their_module_not_by_our_version(fleet: Fleet) -> None:
    build = BuildSpec(target="orchestrator.zoo.early_exit.EarlyExit", arguments={})
    code = Keys(()).export_key(replace(fleet.unit, model=replace(fleet.unit.model, build=build)), CELL).parts["code"]
    assert sorted(code["modules"]) == ["orchestrator.zoo", "orchestrator.zoo.early_exit"]


def test_an_edit_to_what_exports_counts_and_one_to_a_report_does_not(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*cells.CONVERSION[:2], "orchestrator/verify", "orchestrator/report"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "probes.py").write_text("")
    monkeypatch.setattr("orchestrator.__file__", str(tmp_path / "orchestrator" / "__init__.py"))
    before = fleet.keys()
    (tmp_path / "orchestrator/report/probes.py").write_text("# edited")
    assert fleet.keys() == before
    (tmp_path / "orchestrator/verify/compare.py").write_text("# edited")
    assert fleet.keys()[0] == before[0]
    assert fleet.keys()[1] != before[1]
    (tmp_path / "exporters/dynamo.py").write_text("# edited")
    assert fleet.keys()[0] != before[0]


def test_another_tool_is_another_key(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fleet.keys()
    monkeypatch.setenv("TORCH_ONNX_ENABLE_OPTIMIZATION", "1")
    assert fleet.keys()[0] != before[0]


PROGRAM = """
import sys
from pathlib import Path
import msgspec
from orchestrator.keys.cells import Keys
from orchestrator.spec import Unit
unit = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Unit)
keys = Keys(())
export = keys.export_key(unit, unit.cells[0])
verify = keys.verify_key(unit, unit.cells[0], export, threads=1)
print(export.digest, verify.digest, *({"torch", "ray", "onnx", "numpy", "hydra"} & sys.modules.keys()))
"""


def test_keys_are_equal_in_all_processes_and_cost_no_import(fleet: Fleet, tmp_path: Path) -> None:
    plan = tmp_path / "unit.json"
    plan.write_bytes(msgspec.json.encode(fleet.unit))
    surroundings: list[tuple[Path, dict[str, str]]] = [
        (tmp_path, {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "UTC", "PYTHONUTF8": "0"}),
        (ROOT, {"PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo", "TORCH_LOGS": "+all", "OMP_NUM_THREADS": "3"}),
    ]
    path = os.pathsep.join((str(ROOT), str(fleet.folder.parent)))
    for folder, variables in surroundings:
        environment = {**os.environ, **variables, "PYTHONPATH": path}
        command = [sys.executable, "-c", PROGRAM, str(plan)]
        answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
        assert tuple(answer.split()) == fleet.keys()


def test_a_unit_is_looked_at_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(())
    first = keys.export_key(fleet.unit, CELL)
    monkeypatch.delattr(Keys, "_export_parts")
    assert keys.export_key(fleet.unit, replace(CELL, opset=18)).parts == {**first.parts, "opset": 18}
