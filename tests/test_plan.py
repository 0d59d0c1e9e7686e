from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec
import pytest

from orchestrator.errors import EnvironmentRefusedError, UserError
from orchestrator.plan import longest_first, plan, share_cores
from orchestrator.spec import (
    BuildSpec,
    CellRequest,
    ClusterSpec,
    ExporterSpec,
    Limits,
    ModelSpec,
    Plan,
    RunSettings,
    RunSpec,
    Target,
    VerifyLevel,
    VerifySpec,
    WeightsSpec,
)
from tests import synthetic

CPU = Target(name="cpu", device="cpu", provider="CPUExecutionProvider")
CUDA = Target(name="cuda", device="cuda", provider="CUDAExecutionProvider")
ONLY_CPU = frozenset({"cpu"})


def model(name: str = "tiny") -> ModelSpec:
    build = BuildSpec(target="torch.nn.Linear", arguments={"in_features": 4, "out_features": 3})
    return ModelSpec(name=name, build=build, weights=WeightsSpec(seed=0), dims={}, inputs=(), outputs=())


BASE = CellRequest(
    model=model(),
    exporter=ExporterSpec(name="dynamo", options={"optimize": True}),
    opset=20,
    dtype="float32",
    target=CPU,
    verify=VerifySpec(level=VerifyLevel.STANDARD, seed=0, k=8.0),
    limits=Limits(seconds=600, memory=1 << 33, log=1 << 24),
)


def settings(require_targets: bool = False) -> RunSettings:
    return RunSettings(
        runs="/runs",
        store="/runs/.store",
        cluster=ClusterSpec(kind="inline", workers=1, threads_per_worker=1),
        trust=(),
        require_targets=require_targets,
        overrides=(),
    )


def planned(*requests: CellRequest, devices: frozenset[str] = ONLY_CPU) -> Plan:
    return plan(RunSpec(settings=settings(), requests=requests), devices)


def test_a_cell_is_named_after_its_axes() -> None:
    assert [cell.id for cell in planned(BASE).cells] == ["tiny-dynamo-opset20-float32-cpu"]


def test_other_swept_keys_are_appended_with_their_value() -> None:
    (unit,) = planned(replace(BASE, swept=(("exporter.optimize", "true"), ("verify", "quick")))).units
    assert unit.cells[0].id == "tiny-dynamo-opset20-float32-cpu-exporter.optimize=true-verify=quick"
    assert unit.id == "tiny-dynamo-float32-exporter.optimize=true-verify=quick"


def test_opsets_and_targets_of_one_capture_are_one_unit() -> None:
    requests = [replace(BASE, opset=opset, target=target) for opset in (18, 20) for target in (CPU, CUDA)]
    (unit,) = planned(*requests, devices=frozenset({"cpu", "cuda"})).units
    assert [(cell.opset, cell.target.name) for cell in unit.cells] == [(18, "cpu"), (18, "cuda"), (20, "cpu"), (20, "cuda")]


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, model=model("other")),
        replace(BASE, exporter=ExporterSpec(name="torchscript", options={})),
        replace(BASE, dtype="float16"),
        replace(BASE, swept=(("verify.k", "4"),)),
    ],
)
def test_what_needs_a_capture_of_its_own_is_a_unit_of_its_own(other: CellRequest) -> None:
    assert len(planned(BASE, other).units) == 2


def test_units_of_one_name_are_told_apart() -> None:
    slow = replace(BASE, opset=18, limits=replace(BASE.limits, seconds=9000))
    assert [unit.id for unit in planned(BASE, slow).units] == ["tiny-dynamo-float32", "tiny-dynamo-float32-2"]


def test_equal_cells_are_merged() -> None:
    assert len(planned(BASE, replace(BASE), replace(BASE, model=model())).cells) == 1


def test_different_cells_with_one_identifier_are_refused_with_what_differs() -> None:
    with pytest.raises(UserError, match=r"tiny-dynamo-opset20-float32-cpu: two different cells .* differ in limits"):
        planned(BASE, replace(BASE, limits=replace(BASE.limits, seconds=1)))


def test_identifiers_that_differ_only_in_case_are_refused() -> None:
    with pytest.raises(UserError, match="differ in model"):
        planned(BASE, replace(BASE, model=model("Tiny")))


def test_swept_values_that_look_alike_once_they_are_printable_are_refused() -> None:
    one, two = (replace(BASE, swept=(("model.build.kind", value),)) for value in ("a/b", "a b"))
    with pytest.raises(UserError, match="differ in swept"):
        planned(one, two)


@pytest.mark.parametrize("name", ["../escape", ".hidden", "/etc", "a\0b", "x" * 300])
def test_a_hostile_name_never_becomes_an_identifier(name: str) -> None:
    with pytest.raises(UserError, match="no identifier"):
        planned(replace(BASE, model=model(name)))


def test_a_hostile_swept_value_is_made_printable() -> None:
    (cell,) = planned(replace(BASE, swept=(("model.build.path", "../../etc/passwd"),))).cells
    assert cell.id == "tiny-dynamo-opset20-float32-cpu-model.build.path=.._.._etc_passwd"


def test_a_target_that_no_worker_can_serve_is_skipped_with_the_reason() -> None:
    cells = planned(BASE, replace(BASE, target=CUDA)).cells
    assert [cell.skip for cell in cells] == [None, "no worker has a cuda device"]


def test_a_required_target_that_no_worker_can_serve_ends_the_run() -> None:
    spec = RunSpec(settings=settings(require_targets=True), requests=(BASE, replace(BASE, target=CUDA)))
    with pytest.raises(EnvironmentRefusedError, match=r"no worker can serve cuda \(cuda\); they have cpu"):
        plan(spec, ONLY_CPU)


def test_a_plan_survives_json() -> None:
    before = planned(BASE, replace(BASE, target=CUDA))
    assert msgspec.json.decode(msgspec.json.encode(before), type=Plan) == before


@pytest.mark.parametrize(
    ("workers", "units", "given", "threads"),
    [(2, 1, 0, 8), (2, 5, 0, 4), (8, 8, 0, 1), (16, 16, 0, 1), (2, 1, 3, 3), (2, 0, 0, 8)],
)
def test_cores_are_shared_out_among_the_workers_that_have_work(workers: int, units: int, given: int, threads: int) -> None:
    wished = synthetic.plan(*(synthetic.unit(f"model{n}") for n in range(units)), synthetic.unit("other", skip="no device"))
    cluster = ClusterSpec(kind="local", workers=workers, threads_per_worker=given)
    wished = replace(wished, settings=replace(wished.settings, cluster=cluster))
    assert share_cores(wished, 8).settings.cluster.threads_per_worker == threads


# By what it takes


def test_a_unit_that_takes_more_than_its_share_is_split_where_all_is_known() -> None:
    wished = [replace(BASE, opset=opset) for opset in (18, 19, 20, 21)] + [replace(BASE, model=model("other"))]
    spec = RunSpec(
        settings=replace(settings(), cluster=ClusterSpec(kind="local", workers=2, threads_per_worker=1)), requests=tuple(wished)
    )
    units = plan(spec, ONLY_CPU, lambda cells: 10.0 * len(cells)).units
    assert [(unit.id, [cell.opset for cell in unit.cells], unit.estimate) for unit in units] == [
        ("tiny-dynamo-float32", [18, 19], 20.0),
        ("tiny-dynamo-float32-2", [20, 21], 20.0),
        ("other-dynamo-float32", [20], 10.0),
    ]
    assert len(plan(spec, ONLY_CPU, lambda cells: None if len(cells) == 1 else 40.0).units) == 2


def test_what_takes_long_is_handed_out_first() -> None:
    def order(*estimates: float | None, sizes: Mapping[int, int] | None = None) -> list[str]:
        units = [replace(synthetic.unit(f"m{i}"), estimate=estimate) for i, estimate in enumerate(estimates)]
        for i, size in (sizes or {}).items():
            units[i] = replace(units[i], model=replace(units[i].model, size=size))
        return [unit.model.name for unit in longest_first(synthetic.plan(*units, synthetic.unit("none", skip="no device")))]

    assert order(1.0, 3.0, 2.0) == ["m1", "m2", "m0"]
    assert order(None, None, None) == ["m0", "m1", "m2"]
    assert order(1.0, None, 4.0) == ["m2", "m1", "m0"]
    assert order(None, 5.0, sizes={0: 10**9}) == ["m0", "m1"]
