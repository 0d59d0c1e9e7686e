from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from orchestrator.config import Assignment, Batch, Composition, hydra_files, load, newest_opset
from orchestrator.errors import UserError
from orchestrator.fleet import Fleet
from orchestrator.report import mlflow_log
from orchestrator.result import Status
from orchestrator.spec import (
    CellRequest,
    ClusterSpec,
    ExporterSpec,
    KnownIssue,
    RunSpec,
    Selection,
    Target,
    VerifyLevel,
    VerifySpec,
)
from orchestrator.structured import Config

FILE = Path("/configs/model/tiny.yaml")
GROUPS: dict[str, Any] = {
    "model": {
        "name": "tiny",
        "build": {"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 3},
        "weights": {"seed": 0},
        "dims": {"batch": {"min": 1, "max": 16}},
        "inputs": [{"name": "features", "shape": ["batch", 4]}],
        "outputs": ["logits"],
    },
    "exporter": {"name": "dynamo", "optimize": True, "budget": 1.5, "table": None},
    "target": {"name": "cpu", "device": "cpu", "provider": "CPUExecutionProvider"},
    "verify": {"level": "standard"},
    "cluster": {"kind": "local"},
}
"""What the files say."""


def composition(changes: Mapping[str, Any], swept: tuple[tuple[str, str], ...] = ()) -> Composition:
    config = OmegaConf.merge(OmegaConf.structured(Config), GROUPS, changes)
    OmegaConf.set_struct(config, True)
    return Composition(config=config, model_file=FILE, swept=swept)


def value(key: str, *values: Any, prefix: str = "") -> Assignment:
    """An assignment, swept if it has several values."""
    return Assignment(typed=f"{prefix}{key}=…", prefix=prefix, key=key, values=values, swept=len(values) > 1)


def batch(*assignments: Assignment, files: Mapping[str, Any] | None = None, **changes: Any) -> Batch:
    made = {
        "overrides": (),
        "compositions": [composition(files or {})],
        "assignments": assignments,
        "runs": "runs",
        "trusted": [],
        "exporters": ["dynamo", "torchscript"],
    }
    return Batch(**{**made, **changes})


def loaded(*assignments: Assignment, files: Mapping[str, Any] | None = None, **changes: Any) -> RunSpec:
    return load(batch(*assignments, files=files, **changes))


def the_cell(*assignments: Assignment, files: Mapping[str, Any] | None = None) -> CellRequest:
    (request,) = loaded(*assignments, files=files).requests
    return request


def problems(*assignments: Assignment, files: Mapping[str, Any] | None = None, **changes: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        loaded(*assignments, files=files, **changes)
    return list(caught.value.problems)


def test_what_was_composed_becomes_specs() -> None:
    cell = the_cell()
    assert cell.model.name == "tiny"
    assert cell.model.config_path == str(FILE)
    assert cell.exporter == ExporterSpec(name="dynamo", options={"optimize": True, "budget": 1.5, "table": None})
    assert (cell.opset, cell.dtype, cell.swept) == (20, "float32", ())
    assert cell.target == Target(name="cpu", device="cpu", provider="CPUExecutionProvider")
    assert cell.verify == VerifySpec(level=VerifyLevel.STANDARD, seed=0, k=8.0)


def test_a_value_of_the_command_line_replaces_the_files() -> None:
    cell = the_cell(value("opset", 18), value("model.dims.batch.max", 8), value("limits.seconds", 5))
    assert (cell.opset, cell.model.dims["batch"].max, cell.limits.seconds, cell.swept) == (18, 8, 5.0, ())


def test_swept_values_give_their_product_in_the_order_of_the_command_line() -> None:
    requests = loaded(value("opset", 18, 20), value("dtype", "float32", "float16")).requests
    assert [(r.opset, r.dtype, r.swept) for r in requests] == [
        (18, "float32", ()),
        (18, "float16", ()),
        (20, "float32", ()),
        (20, "float16", ()),
    ]


def test_swept_keys_that_are_no_axis_name_the_cell() -> None:
    requests = loaded(value("exporter.optimize", True, False), value("opset", 18, 20)).requests
    assert [(r.exporter.options["optimize"], r.opset, r.swept) for r in requests] == [
        (True, 18, (("exporter.optimize", "true"),)),
        (True, 20, (("exporter.optimize", "true"),)),
        (False, 18, (("exporter.optimize", "false"),)),
        (False, 20, (("exporter.optimize", "false"),)),
    ]


def test_swept_groups_that_are_no_axis_name_the_cell() -> None:
    strict = composition({"verify": {"level": "strict"}}, swept=(("verify", "strict"),))
    (request,) = loaded(compositions=[strict]).requests
    assert (request.verify.level, request.swept) == (VerifyLevel.STRICT, (("verify", "strict"),))


def test_cells_share_what_no_swept_value_touches() -> None:
    first, second = loaded(value("opset", 18, 20)).requests
    assert first.model is second.model


def test_a_swept_mapping_replaces_what_the_one_before_it_left() -> None:
    first, second = loaded(value("model.build", {"a": 1}, {"b": 2}, prefix="++")).requests
    assert first.model.build.arguments == {"in_features": 4, "out_features": 3, "a": 1}
    assert second.model.build.arguments == {"in_features": 4, "out_features": 3, "b": 2}


def test_a_swept_value_is_followed_by_those_that_refer_to_it() -> None:
    files = {"model": {"build": {"depth": "${opset}"}}, "exporter": {"budget": "${limits.seconds}"}}
    first, second = loaded(value("opset", 18, 20), files=files).requests
    assert (first.model.build.arguments["depth"], second.model.build.arguments["depth"]) == (18, 20)
    assert first.exporter.options["budget"] == 600.0


def test_a_new_key_needs_a_plus() -> None:
    assert problems(value("model.build.bias", False)) == [
        "model.build.bias=…: unknown key 'bias'; there are: _target_, in_features, out_features"
    ]
    assert the_cell(value("model.build.bias", False, prefix="+")).model.build.arguments["bias"] is False


def test_a_plus_on_a_key_that_is_there_is_refused() -> None:
    assert problems(value("opset", 18, prefix="+")) == ["+opset=…: there is a opset already; leave out the +"]


# Exporter options


def test_precedence_is_group_then_model_then_command_line() -> None:
    files = {"model": {"exporter_options": {"dynamo": {"optimize": False, "budget": 2}, "torchscript": {"x": 1}}}}
    assert the_cell(files=files).exporter.options == {"optimize": False, "budget": 2, "table": None}
    assert the_cell(value("exporter.optimize", True), files=files).exporter.options["optimize"] is True


def test_the_models_own_options_can_be_swept() -> None:
    files = {"model": {"exporter_options": {"dynamo": {"optimize": False}}}}
    requests = loaded(value("model.exporter_options.dynamo.optimize", True, False), files=files).requests
    assert [request.exporter.options["optimize"] for request in requests] == [True, False]


@pytest.mark.parametrize("option", [{"optimise": True}, {"optimize": "yes"}])
def test_a_models_option_must_be_one_of_the_exporter(option: dict[str, Any]) -> None:
    (problem,) = problems(files={"model": {"exporter_options": {"dynamo": option}}})
    assert problem.startswith(f"{FILE}: exporter_options.dynamo.{next(iter(option))}: ")


@pytest.mark.parametrize(("key", "wrong"), [("optimize", 1), ("optimize", "no"), ("budget", True)])
def test_an_option_has_the_type_of_its_default(key: str, wrong: object) -> None:
    assert "is not of the type of the default" in problems(value(f"exporter.{key}", wrong))[0]


@pytest.mark.parametrize(("key", "right"), [("budget", 2), ("table", "mypackage.table"), ("table", None), ("optimize", False)])
def test_a_number_may_stand_for_a_float_and_anything_for_null(key: str, right: object) -> None:
    assert the_cell(value(f"exporter.{key}", right)).exporter.options[key] == right


def test_the_name_of_an_exporter_is_no_option() -> None:
    assert problems(value("exporter.name", "torchscript"))[0].startswith("exporter.name=…: choose an exporter as exporter=NAME")
    assert problems(files={"exporter": {"name": "../dynamo"}})[0].startswith("exporter.name=../dynamo: not a name")


# What is refused


def test_all_mistakes_are_told_together() -> None:
    found = problems(
        value("opset", 99), value("dtype", "float31"), value("limits.memory", "much"), value("cluster.workers", -1)
    )
    assert [problem.partition(" ")[0].partition("=")[0] for problem in found] == [
        "opset",
        "dtype",
        "limits.memory",
        "cluster.workers",
    ]


def test_each_swept_value_is_judged_once() -> None:
    found = problems(value("opset", "a", 18, "b"), value("dtype", "float32", "float16"))
    assert found == [f"opset=…: Value '{wrong}' of type 'str' could not be converted to Integer" for wrong in "ab"]


def test_mistakes_of_all_models_are_told_together() -> None:
    other = Composition(config=composition({"model": {"mode": "b"}}).config, model_file=Path("/other.yaml"), swept=())
    found = problems(compositions=[composition({"model": {"mode": "a"}}), other])
    assert [problem.partition(":")[0] for problem in found] == [str(FILE), "/other.yaml"]


@pytest.mark.parametrize("opset", [0, -1, newest_opset() + 1])
def test_an_opset_is_one_that_the_installed_onnx_knows(opset: int) -> None:
    assert problems(value("opset", opset)) == [f"opset={opset}: out of range; the installed onnx knows 1 to {newest_opset()}"]


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("opset", "twenty"),
        ("opset", 20.5),
        ("opset", True),
        ("opset", None),
        ("limits.seconds", "long"),
        ("require_targets", "maybe"),
        ("model.dims", 3),
        ("model.dims.batch.min", "one"),
        ("model.inputs", "x"),
        ("trust", "mypackage.*"),
    ],
)
def test_a_wrong_type_is_refused_with_the_key(key: str, wrong: object) -> None:
    (problem,) = problems(value(key, wrong))
    assert problem.startswith(f"{key}=…: ")


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("dtype", "int8"),
        ("limits.seconds", 0),
        ("limits.memory", 0),
        ("limits.memory", "4GX"),
        ("limits.log", "-1"),
        ("target.device", "tpu"),
        ("target.provider", "cpu"),
        ("target.name", "a/b"),
        ("verify.level", "hard"),
        ("cluster.kind", "slurm"),
        ("cluster.workers", -1),
        ("cluster.threads_per_worker", -1),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_the_key(key: str, wrong: object) -> None:
    assert problems(value(key, wrong))[0].startswith(f"{key}={wrong}: ")


@pytest.mark.parametrize(("key", "wrong"), [("verify.k", 0), ("verify.seed", -1)])
def test_a_number_out_of_range_is_refused_with_the_group(key: str, wrong: int) -> None:
    assert problems(value(key, wrong))[0].startswith(f"{key.partition('.')[0]}: ")


@pytest.mark.parametrize("key", ["cluster.workers", "store.path", "require_targets", "trust"])
def test_what_holds_for_the_run_cannot_be_swept(key: str) -> None:
    values = {
        "cluster.workers": (1, 2),
        "store.path": ("a", "b"),
        "require_targets": (True, False),
        "trust": (["a.*"], ["b.*"]),
    }
    assert problems(value(key, *values[key])) == [
        f"{key}=…: {key.partition('.')[0]} holds for the run as a whole and cannot be swept"
    ]


def test_a_file_that_declares_no_model_is_refused() -> None:
    assert problems(files={"model": None})[0].startswith(f"{FILE}: declares no model")


def test_an_interpolation_that_leads_nowhere_is_told_with_the_file() -> None:
    (problem,) = problems(files={"model": {"build": {"depth": "${nowhere}"}}})
    assert problem == f"{FILE}: model.build.depth: Interpolation key 'nowhere' not found"


# Trust, limits, settings


def test_only_the_primary_config_and_the_command_line_are_trusted_to_trust() -> None:
    assert loaded(files={"trust": ["a.*"]}, trusted=["a.*"]).settings.trust == ("a.*",)
    assert loaded(value("trust", ["b.*"])).settings.trust == ("b.*",)
    assert problems(files={"trust": ["a.*"]}) == [
        "trust: only the primary config and the command line may set it, not a file of a group"
    ]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1024, 1024), ("1024", 1024), ("4GiB", 4 << 30), ("1.5 KiB", 1536), ("2MB", 2_000_000), ("1TiB", 1 << 40)],
)
def test_sizes_are_bytes_or_have_a_unit(size: int | str, expected: int) -> None:
    assert the_cell(value("limits.memory", size)).limits.memory == expected


def test_folders_are_absolute_and_the_store_is_beside_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = loaded(runs="out").settings
    assert (settings.runs, settings.store) == (str(tmp_path / "out"), str(tmp_path / "out" / ".store"))
    assert loaded(value("store.path", "elsewhere")).settings.store == str(tmp_path / "elsewhere")


@pytest.mark.parametrize("workers", [None, 0])
def test_workers_are_as_many_as_cores_unless_told(workers: int | None) -> None:
    assert loaded(value("cluster.workers", workers)).settings.cluster.workers == os.cpu_count()
    assert loaded(value("cluster.workers", 3)).settings.cluster == ClusterSpec(kind="local", workers=3, threads_per_worker=0)


def test_a_cluster_that_exists_has_an_address_and_a_worker_takes_the_cores_of_its_threads() -> None:
    files = {"cluster": {"kind": "ray", "workers": 8}}
    assert loaded(value("cluster.address", "[::1]:6379"), files=files).settings.cluster == ClusterSpec(
        kind="ray", workers=8, threads_per_worker=1, address="[::1]:6379"
    )
    chosen = loaded(
        value("cluster.address", "head:1"),
        value("cluster.allow_no_token", True),
        value("cluster.threads_per_worker", 4),
        files=files,
    ).settings.cluster
    assert (chosen.allow_no_token, chosen.threads_per_worker) == (True, 4)


@pytest.mark.parametrize("address", [None, "head", "head:", ":6379", "head:port", "head:0", "head:65536", "ray://head"])
def test_an_address_is_host_and_port(address: str | None) -> None:
    assert problems(value("cluster.address", address), files={"cluster": {"kind": "ray"}}) == [
        f"cluster.address={address}: with cluster=ray write host:port of the cluster's head node"
    ]


def test_an_address_without_a_cluster_that_exists_is_refused() -> None:
    assert problems(value("cluster.address", "head:6379")) == [
        "cluster.address=head:6379: only for a cluster that exists, cluster=ray"
    ]


def test_the_record_for_hydra_holds_the_first_cells_config_and_what_was_typed() -> None:
    made = batch(value("opset", 18, 20), overrides=("opset=18,20",))
    load(made)
    hydra_node = {"sweep": {"dir": "runs"}, "help": {"template": "long"}, "overrides": {"hydra": ["a"], "task": []}}
    files = {name: OmegaConf.create(text) for name, text in hydra_files(made, OmegaConf.create({"hydra": hydra_node})).items()}
    assert files["config.yaml"].opset == 18
    assert files["config.yaml"].model.name == "tiny"
    assert files["hydra.yaml"].hydra == {"sweep": {"dir": "runs"}, "overrides": {"hydra": ["a"], "task": ["opset=18,20"]}}
    assert files["overrides.yaml"] == ["opset=18,20"]


# Fleets and what is wanted of them


ISSUE = KnownIssue(cells="tiny-torchscript-*", status=Status.EXPORT_FAILED, reason="masks")


def fleet(**changes: Any) -> Fleet:
    fields: dict[str, Any] = {
        "name": "mine",
        "file": Path("/configs/fleet/mine.yaml"),
        "models": ("tiny",),
        "matrix": (),
        "overrides": {},
        "exclude": (),
        "known_issues": (),
    }
    return Fleet(**{**fields, **changes})


def of_fleet(
    *assignments: Assignment, typed: tuple[Assignment, ...] = (), overrides: tuple[str, ...] = (), **changes: Any
) -> RunSpec:
    asked = replace(composition({}), fleet=fleet(**changes), assignments=assignments)
    return loaded(*typed, compositions=[asked], overrides=overrides)


def test_a_fleets_values_hold_for_its_cells_and_the_command_lines_for_all() -> None:
    spec = of_fleet(value("opset", 18, 20), typed=(value("dtype", "float16"),))
    assert [(request.opset, request.dtype) for request in spec.requests] == [(18, "float16"), (20, "float16")]


def test_cells_that_a_fleet_excludes_are_not_asked_for() -> None:
    spec = of_fleet(value("opset", 18, 20), exclude=("*-opset18-*",))
    assert [request.opset for request in spec.requests] == [20]
    assert spec.warnings == ()


def test_a_fleet_that_excludes_all_its_cells_is_refused() -> None:
    with pytest.raises(UserError, match="exclude: leaves no cell"):
        of_fleet(exclude=("*",))


def test_patterns_of_a_fleet_that_match_nothing_are_odd_unless_the_command_line_narrowed_it() -> None:
    odd = {"exclude": ("*-opset9-*",), "known_issues": (ISSUE,)}
    spec = of_fleet(**odd)
    assert spec.known_issues == (ISSUE,)
    assert spec.warnings == (
        "/configs/fleet/mine.yaml: known_issues: 'tiny-torchscript-*' matches no cell",
        "/configs/fleet/mine.yaml: exclude: '*-opset9-*' matches no cell",
    )
    assert of_fleet(typed=(value("opset", 20),), **odd).warnings == ()
    assert of_fleet(overrides=("+fleet=mine", "exporter=dynamo"), **odd).warnings == ()


@pytest.mark.parametrize(
    ("pattern", "odd"), [("tin-*", True), ("tinytorch*", True), ("tiny-torch*", False), ("*-cpu", False), ("t*", False)]
)
def test_a_models_issue_that_can_match_none_of_its_cells_is_odd(pattern: str, odd: bool) -> None:
    issue = {"cells": pattern, "status": "crashed", "reason": "why"}
    assert bool(loaded(files={"model": {"known_issues": [issue]}}).warnings) is odd


def test_what_is_wanted_is_read() -> None:
    spec = loaded(value("select", ["*bert*"]), value("skip", ["*-opset18-*"]), value("only", "not_passed"), value("plan", True))
    assert spec.selection == Selection(select=("*bert*",), skip=("*-opset18-*",), only="not_passed")
    assert spec.plan_only
    assert loaded().selection == Selection()


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        (value("select", "a", "b"), "select=…: is a sweep; a list is written 'select=[a,b]', in quotes"),
        (value("skip", "a"), "skip=…: is no list; a list is written 'skip=[a]', in quotes"),
        (value("only", "fail"), "only=fail: not one of failed, not_passed, passed,"),
        (value("plan", True, False), "plan=…: plan holds for the run as a whole and cannot be swept"),
    ],
)
def test_what_cannot_be_wanted_is_told(assignment: Assignment, complaint: str) -> None:
    assert problems(assignment)[0].startswith(complaint)


def test_the_rules_of_the_baseline_are_read_and_a_bound_that_makes_no_sense_is_refused() -> None:
    rules = loaded(value("baseline.size", None), value("baseline.error", 1.5), value("baseline.gone", False)).settings.baseline
    assert (rules.size, rules.error, rules.gone, rules.interface, rules.compare) == (None, 1.5, False, True, True)
    assert problems(value("baseline.size", 0)) == ["baseline.size=0: a share above 0 as 0.05, or null to take any size"]
    assert problems(value("baseline.error", 0.5)) == ["baseline.error=0.5: a factor of at least 1, or null to take any error"]


def test_a_run_is_logged_to_mlflow_only_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_log, "is_installed", lambda: True)
    assert loaded(value("mlflow", "sqlite:///a.db")).settings.mlflow == "sqlite:///a.db"
    monkeypatch.setattr(mlflow_log, "is_installed", lambda: False)
    assert loaded().settings.mlflow is None
    (told,) = problems(value("mlflow", "sqlite:///a.db"))
    assert told.startswith("mlflow=sqlite:///a.db: MLflow is not installed; install the extra")


def test_how_much_is_said_is_one_of_three() -> None:
    assert loaded(value("terminal", "quiet")).settings.terminal == "quiet"
    assert problems(value("terminal", "loud")) == ["terminal=loud: not one of quiet, normal, verbose"]
