from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import pytest

from exporters.base import Dim, TensorSpec
from orchestrator.declaration import Surroundings, read_model
from orchestrator.errors import UserError
from orchestrator.result import Status
from orchestrator.spec import BuildSpec, ModelSpec, OutputSpec, WeightsSpec

WEIGHTS = {"seed": None, "file": None, "url": None, "package": None, "sha256": None, "key": None, "prefix": "", "strict": True}
INPUT = {"shape": ["batch", 4], "dtype": "float32", "range": None, "generator": None, "keyword": False}
TINY: dict[str, Any] = {
    "name": "tiny",
    "build": {"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 3},
    "weights": {**WEIGHTS, "seed": 0},
    "mode": "eval",
    "dims": {"batch": {"min": 1, "max": 16}},
    "inputs": [{**INPUT, "name": "features"}],
    "outputs": ["logits"],
    "select": [],
    "rename": {},
    "exportable": False,
    "cases": {},
    "known_issues": [],
    "exporter_options": {},
    "size": None,
}
"""As the schema hands it over: every key is there."""


def read(folder: Path = Path("/configs"), **changes: Any) -> ModelSpec:
    around = Surroundings(file=folder / "tiny.yaml", trust=("mypackage.*",), exporters=("dynamo", "torchscript"))
    return read_model({**copy.deepcopy(TINY), **changes}, around)


def problems(folder: Path = Path("/configs"), **changes: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        read(folder, **changes)
    assert all(problem.startswith(f"{folder / 'tiny.yaml'}: ") for problem in caught.value.problems)
    return [problem.removeprefix(f"{folder / 'tiny.yaml'}: ") for problem in caught.value.problems]


def an_input(**changes: Any) -> list[dict[str, Any]]:
    return [{**INPUT, "name": "x", **changes}]


def test_a_declaration_becomes_a_spec() -> None:
    assert read() == ModelSpec(
        name="tiny",
        build=BuildSpec(target="torch.nn.Linear", arguments={"in_features": 4, "out_features": 3}),
        weights=WeightsSpec(seed=0),
        dims={"batch": Dim(name="batch", min=1, max=16)},
        inputs=(TensorSpec(name="features", shape=("batch", 4), dtype="float32"),),
        outputs=(OutputSpec(name="logits"),),
        config_path="/configs/tiny.yaml",
    )


def test_all_mistakes_are_told_together() -> None:
    found = problems(name="a/b", mode="evil", outputs=[""], dims={"batch": {"min": 3, "max": 2}})
    assert [problem.partition(":")[0] for problem in found] == ["dims.batch", "name", "mode", "outputs[0]"]


@pytest.mark.parametrize("name", [None, "", "../up", ".hidden", "a b", "x" * 65])
def test_a_name_that_cannot_be_a_folder_is_refused(name: str | None) -> None:
    assert problems(name=name)[0].startswith("name: ")


# build


def test_a_target_that_nobody_trusts_is_refused_at_any_depth() -> None:
    nested = {"_target_": "torch.nn.Sequential", "layers": [{"_target_": "os.system", "command": "true"}]}
    assert "`os.system` is not trusted" in problems(build=nested)[0]


def test_the_users_patterns_are_handed_on() -> None:
    assert "`mypackage.models.net` cannot be built: the package" in problems(build={"_target_": "mypackage.models.net"})[0]


@pytest.mark.parametrize("build", [{}, {"in_features": 4}])
def test_a_build_without_a_target_is_refused(build: dict[str, Any]) -> None:
    assert problems(build=build) == [
        "build: _target_ is missing: the dotted path of a class or function that returns the module"
    ]


def test_an_argument_that_hydra_would_obey_is_refused() -> None:
    assert "`_partial_`" in problems(build={**TINY["build"], "_partial_": True})[0]


# weights


def test_a_weights_file_is_looked_for_beside_the_declaration(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    weights = read(tmp_path, weights={**WEIGHTS, "file": "w.safetensors", "sha256": digest.upper(), "prefix": "net."}).weights
    assert (weights.file, weights.prefix, weights.seed) == (str(file), "net.", None)


def test_a_weights_file_that_is_not_there_is_named_with_its_place(tmp_path: Path) -> None:
    missing = {**WEIGHTS, "file": "w.safetensors"}
    assert problems(tmp_path, weights=missing) == [f"weights.file: '{tmp_path}/w.safetensors' does not exist"]


def test_a_digest_that_differs_is_told_with_both(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"other")
    (problem,) = problems(tmp_path, weights={**WEIGHTS, "file": "w.bin", "sha256": "0" * 64})
    assert hashlib.sha256(b"other").hexdigest() in problem
    assert "0" * 64 in problem


@pytest.mark.parametrize("digest", ["0", "xyz", "0" * 63])
def test_a_digest_that_is_none_is_refused(tmp_path: Path, digest: str) -> None:
    (tmp_path / "w.bin").write_bytes(b"weights")
    (problem,) = problems(tmp_path, weights={**WEIGHTS, "file": "w.bin", "sha256": digest})
    assert problem.startswith(f"weights.sha256: '{digest}' is no digest")


def test_a_file_of_an_installed_package_stays_relative_to_it() -> None:
    weights = read(weights={**WEIGHTS, "package": "omegaconf", "file": "py.typed"}).weights
    assert (weights.package, weights.file) == ("omegaconf", "py.typed")


def test_a_package_that_is_not_installed_is_told_with_what_to_install() -> None:
    (problem,) = problems(weights={**WEIGHTS, "package": "no_such_weights.inner", "file": "w"})
    assert "'no_such_weights.inner' is not installed" in problem
    assert "no-such-weights" in problem
    assert "[zoo]" in problem


@pytest.mark.parametrize("file", ["../../secret", "/etc/passwd"])
def test_a_file_outside_of_its_package_is_refused(file: str) -> None:
    assert "is outside of the package" in problems(weights={**WEIGHTS, "package": "omegaconf", "file": file})[0]


@pytest.mark.parametrize("weights", [None, {**WEIGHTS}, {**WEIGHTS, "seed": 0, "file": "/dev/null"}])
def test_weights_come_from_exactly_one_place(weights: dict[str, Any] | None) -> None:
    assert problems(weights=weights)[0].startswith("weights: ")


def test_what_has_no_effect_on_random_weights_is_refused() -> None:
    assert problems(weights={**WEIGHTS, "seed": 0, "prefix": "net."})[0].startswith("weights.prefix: 'net.' has no effect")


# dims and inputs


@pytest.mark.parametrize(
    ("low", "high", "complaint"),
    [
        (4, 3, "min 4 is above max 3"),
        (0, 3, "min 0 is below 1"),
        (3, 3, "min 3 and max 3 leave nothing dynamic; write the number in the shape"),
        (1, 1, "min 1 and max 1 leave nothing dynamic; write the number in the shape"),
    ],
)
def test_a_range_of_sizes_that_makes_no_sense_is_refused(low: int, high: int, complaint: str) -> None:
    assert problems(dims={"batch": {"min": low, "max": high}}) == [f"dims.batch: {complaint}"]


def test_a_dimension_may_be_unbounded() -> None:
    assert read(dims={"batch": {"min": 1, "max": None}}).dims["batch"].max is None


def test_a_dimension_that_is_used_and_not_declared_is_refused() -> None:
    assert problems(dims={"bach": {"min": 1, "max": 4}})[0] == (
        "inputs: dimension 'batch' is used and not declared in dims; did you mean bach? There are: bach"
    )


def test_a_dimension_that_is_declared_and_not_used_is_refused() -> None:
    dims = {**TINY["dims"], "time": {"min": 1, "max": 4}}
    assert problems(dims=dims) == ["dims.time: is declared and no input uses it"]


@pytest.mark.parametrize("size", [0, -1, 2.5, True, None, ["batch"]])
def test_a_size_is_a_positive_number_or_a_dimension(size: object) -> None:
    assert problems(inputs=an_input(shape=["batch", size]))[0].startswith("inputs[0].shape: ")


@pytest.mark.parametrize(
    ("changes", "generator", "bounds"),
    [
        ({}, "normal", None),
        ({"range": [-1, 1]}, "uniform", (-1.0, 1.0)),
        ({"dtype": "int64", "range": [0, 9]}, "uniform", (0.0, 9.0)),
        ({"dtype": "int64", "generator": "mask"}, "mask", None),
        ({"dtype": "bool"}, "uniform", (0.0, 2.0)),
        ({"dtype": "bool", "generator": "mask"}, "mask", None),
    ],
)
def test_values_are_drawn_as_the_dtype_and_the_range_suggest(
    changes: dict[str, Any], generator: str, bounds: tuple[float, float] | None
) -> None:
    (spec,) = read(inputs=an_input(**changes)).inputs
    assert (spec.generator, spec.range) == (generator, bounds)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"dtype": "int64"}, "an input of dtype int64 needs range: [low, high), or generator: mask"),
        ({"dtype": "int64", "generator": "normal"}, "an input of dtype int64 needs range: [low, high), or generator: mask"),
        ({"dtype": "float31"}, "'float31' is none of float64"),
        ({"generator": "gaussian"}, "'gaussian' is none of uniform, normal, mask"),
        ({"generator": "uniform"}, "generator uniform needs a range"),
        ({"generator": "mask", "range": [0, 1]}, "generator mask does not take a range"),
        ({"range": [1, 0]}, "[1, 0] is not [low, high)"),
        ({"range": [0, float("nan")]}, "[0, nan] is not [low, high)"),
        ({"range": [0]}, "[0] is not [low, high)"),
        ({"name": "a b"}, "'a b' is no name"),
        ({"name": "a-b", "keyword": True}, "'a-b' is a keyword input and must be a parameter of forward"),
    ],
)
def test_an_input_that_cannot_be_drawn_is_refused(changes: dict[str, Any], complaint: str) -> None:
    assert complaint in problems(inputs=an_input(**changes))[0]


def test_keyword_inputs_come_last() -> None:
    inputs = [{**INPUT, "name": "a", "keyword": True}, {**INPUT, "name": "b"}]
    assert problems(inputs=inputs) == ["inputs: positional inputs come first, those with keyword: true after them"]


def test_names_in_a_graph_are_unique() -> None:
    found = problems(inputs=[*an_input(), *an_input()], outputs=["y", "y", "x"])
    assert found == [
        "inputs: 'x' is declared twice",
        "outputs: 'y' is declared twice",
        "outputs: 'x' is also an input; a graph has each name once",
    ]


# weights from an address

ADDRESS = {**WEIGHTS, "url": "https://example.org/a/w.safetensors", "sha256": "ab" * 32, "prefix": "net.", "key": "model"}


def test_weights_may_be_named_by_an_address_with_a_digest() -> None:
    assert read(weights=ADDRESS).weights == WeightsSpec(
        url="https://example.org/a/w.safetensors", sha256="ab" * 32, prefix="net.", key="model"
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sha256": None}, "weights.sha256: is missing"),
        ({"sha256": "ab"}, "weights.sha256: 'ab' is no digest"),
        ({"url": "ftp://example.org/w"}, "weights.url: 'ftp://example.org/w' is no address"),
        ({"url": "https://example.org/"}, "weights.url: 'https://example.org/' is no address"),
        ({"url": "https:///w"}, "weights.url: 'https:///w' is no address"),
        ({"url": "w.safetensors"}, "weights.url: 'w.safetensors' is no address"),
        ({"package": "omegaconf"}, "weights.package: 'omegaconf' has no effect"),
        ({"seed": 0}, "weights: give one of seed, url and file"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_without_asking_it(changes: dict[str, Any], complaint: str) -> None:
    assert problems(weights={**ADDRESS, **changes})[0].startswith(complaint)


# outputs, cases, known issues, exporter options


def test_an_output_may_have_tolerances_of_its_own() -> None:
    outputs = read(outputs=["y", {"name": "z", "rtol": 1, "atol": 1e-3, "constant": True}]).outputs
    assert outputs == (OutputSpec(name="y"), OutputSpec(name="z", rtol=1.0, atol=1e-3, constant=True))


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ({"name": "y", "rtl": 1}, "outputs[0]: unknown key 'rtl'; did you mean rtol or atol?"),
        ({"name": "y", "rtol": -1}, "outputs[0].rtol: -1 is no number of at least 0"),
        ({"name": "y", "atol": "low"}, "outputs[0].atol: 'low' is no number of at least 0"),
        ({"name": "y", "constant": "yes"}, "outputs[0].constant: 'yes' is neither true nor false"),
        ({"rtol": 1}, "outputs[0].name: is missing"),
        ("a b", "outputs[0]: 'a b' is no name"),
    ],
)
def test_an_output_that_makes_no_sense_is_refused(output: object, complaint: str) -> None:
    assert problems(outputs=[output])[0].startswith(complaint)


def test_outputs_without_names_may_be_renamed_once_their_places_are_known() -> None:
    spec = read(outputs=[], select=["hidden", "past.0.key"], rename={"hidden": "embedding"})
    assert (spec.outputs, spec.select, spec.rename) == ((), ("hidden", "past.0.key"), {"hidden": "embedding"})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"rename": {"a": "b"}}, "rename: has no effect where outputs gives the names"),
        ({"outputs": [], "rename": {"a": "b c"}}, "rename.a: 'b c' is no name"),
        ({"select": ["past..key"]}, "select: 'past..key' is no place in an answer"),
        ({"select": ["a", "a"]}, "select: 'a' is declared twice"),
        ({"exportable": True}, "inputs: are the module's own with exportable: true"),
        ({"exportable": True, "inputs": [], "cases": {"c": {}}}, "cases: are the module's own"),
    ],
)
def test_what_names_or_inputs_cannot_be_is_told(changes: dict[str, Any], complaint: str) -> None:
    assert problems(**changes)[0].startswith(complaint)


def test_an_exportable_module_declares_its_inputs_itself() -> None:
    spec = read(exportable=True, inputs=[], outputs=[], dims={"batch": {"min": 2, "max": 4}})
    assert spec.exportable
    assert (spec.inputs, spec.dims) == ((), {"batch": Dim(name="batch", min=2, max=4)})


def test_a_case_changes_how_some_inputs_are_drawn_and_keeps_the_others() -> None:
    inputs = [{**INPUT, "name": "a", "range": [0, 1]}, {**INPUT, "name": "b"}]
    (case,) = read(inputs=inputs, cases={"high": {"a": {"range": [5, 6]}}}).cases
    assert case.name == "high"
    assert [(spec.name, spec.range) for spec in case.inputs] == [("a", (5.0, 6.0)), ("b", None)]


@pytest.mark.parametrize(
    ("case", "complaint"),
    [
        ({"featurs": {"range": [0, 1]}}, "there is no input 'featurs'; did you mean features?"),
        ({"features": {"rnge": [0, 1]}}, "unknown key 'rnge'; did you mean range?"),
        ({"features": 3}, "3 is not as {range: [low, high)}"),
        ({"features": {"range": "wide"}}, "wide is not [low, high)"),
    ],
)
def test_a_case_that_changes_nothing_that_there_is_is_refused(case: dict[str, Any], complaint: str) -> None:
    assert complaint in problems(cases={"odd": case})[0]


def test_a_known_issue_has_a_status_that_is_no_pass_and_a_reason() -> None:
    issue = {"cells": "*", "status": "check_failed", "reason": "why", "owner": None, "expires": "2030-01-31"}
    (known,) = read(known_issues=[issue]).known_issues
    assert (known.status, known.expires) == (Status.CHECK_FAILED, "2030-01-31")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"reason": None}, "known_issues[0].reason: is missing"),
        ({"cells": ""}, "known_issues[0].cells: is missing"),
        ({"status": "passed"}, "known_issues[0].status: 'passed' is none of export_failed"),
        ({"status": "chek_failed"}, "known_issues[0].status: 'chek_failed' is none of export_failed"),
        ({"expires": "next year"}, "known_issues[0].expires: 'next year' is no date"),
    ],
)
def test_a_known_issue_that_excuses_nothing_is_refused(changes: dict[str, Any], complaint: str) -> None:
    issue = {"cells": "*", "status": "check_failed", "reason": "why", "owner": None, "expires": None, **changes}
    assert problems(known_issues=[issue])[0].startswith(complaint)


def test_options_for_an_exporter_that_there_is_not_are_refused() -> None:
    (problem,) = problems(exporter_options={"dynam": {"optimize": False}})
    assert problem == "exporter_options: there is no exporter 'dynam'; did you mean dynamo? There are: dynamo, torchscript"
