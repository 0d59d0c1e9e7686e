from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.orchestrator_sweeper import Composer
from orchestrator import structured
from orchestrator.errors import UserError
from orchestrator.structured import ModelConfig

ROOT = Path(__file__).parents[2]


def hydra_at(folder: Path, *overrides: str) -> tuple[ConfigLoader, DictConfig]:
    """What Hydra gives to the sweeper, with a user's folder beside ours."""
    structured.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        primary = compose("config", [f"hydra.searchpath=[file://{folder}]", *overrides], return_hydra_config=True)
        return GlobalHydra.instance().config_loader(), primary


@pytest.fixture(scope="module")
def shared() -> tuple[ConfigLoader, DictConfig]:
    return hydra_at(ROOT / "tests" / "configs")


@pytest.fixture
def composer(shared: tuple[ConfigLoader, DictConfig]) -> Composer:
    return Composer(*shared)


def problems(composer: Composer, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        composer.batch(overrides)
    return list(caught.value.problems)


def test_hydra_finds_the_plugin() -> None:
    assert "OrchestratorSweeper" in {sweeper.__name__ for sweeper in Plugins.instance().discover(Sweeper)}


def test_a_single_export_is_a_sweep_of_one(composer: Composer) -> None:
    batch = composer.batch(["+model=tiny", "opset=18"])
    (composition,) = batch.compositions
    assert composition.config.model.name == "tiny"
    assert composition.config.opset == 20
    assert composition.model_file == ROOT / "tests" / "configs" / "model" / "tiny.yaml"
    assert [(a.key, a.values, a.swept) for a in batch.assignments] == [("opset", (18,), False)]
    assert batch.overrides == ("+model=tiny", "opset=18")
    assert batch.exporters == ["dynamo", "torchscript", "torchscript_script"]
    assert (batch.runs, list(batch.trusted)) == ("runs", [])


def test_each_distinct_choice_of_groups_is_composed_once_whatever_else_is_swept(composer: Composer) -> None:
    batch = composer.batch(["+model=tiny,rich", "exporter=dynamo,torchscript", "opset=range(1,29)", "dtype=float32,float16"])
    assert [(c.config.model.name, c.config.exporter.name) for c in batch.compositions] == [
        ("tiny", "dynamo"),
        ("tiny", "torchscript"),
        ("rich", "dynamo"),
        ("rich", "torchscript"),
    ]


def test_only_groups_that_are_no_axis_name_cells(composer: Composer) -> None:
    batch = composer.batch(["+model=tiny", "exporter=dynamo,torchscript", "verify=quick,strict"])
    assert [c.swept for c in batch.compositions] == [(("verify", "quick"),), (("verify", "strict"),)] * 2


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("opset=18,20", (18, 20)),
        ("opset=range(18,24)", (18, 19, 20, 21, 22, 23)),
        ("opset=choice(18,20)", (18, 20)),
        ("opset=choice(18)", (18,)),
        ("exporter.optimize=true,false", (True, False)),
        ("model.name='a,b','c'", ("a,b", "c")),
        ("model.select=[a],[b,'c d']", (["a"], ["b", "c d"])),
        ("++model.build={a:'1'},{b:2}", ({"a": "1"}, {"b": 2})),
    ],
)
def test_hydras_ways_to_sweep_are_understood(composer: Composer, override: str, values: tuple[object, ...]) -> None:
    (assignment,) = composer.batch(["+model=tiny", override]).assignments
    assert (assignment.values, assignment.swept, assignment.typed) == (values, True, override)


def test_a_glob_over_a_group_takes_the_options_that_match(composer: Composer) -> None:
    batch = composer.batch(["+model=glob([tin*,ric*])", "exporter=glob(torch*)"])
    assert [(c.config.model.name, c.config.exporter.name) for c in batch.compositions] == [
        ("rich", "torchscript"),
        ("rich", "torchscript_script"),
        ("tiny", "torchscript"),
        ("tiny", "torchscript_script"),
    ]


def test_an_option_in_a_folder_of_its_group_is_chosen_by_its_path_and_by_no_glob(composer: Composer) -> None:
    (composition,) = composer.batch(["+model=limits/tensor_if"]).compositions
    assert composition.config.model.name == "tensor_if"
    assert composition.model_file == ROOT / "conf" / "model" / "limits" / "tensor_if.yaml"
    assert "tensor_if" not in {c.config.model.name for c in composer.batch(["+model=glob(*)"]).compositions}
    assert problems(composer, "+model=limits/tensor_iff")[0].startswith(
        "+model=limits/tensor_iff: there is no model 'limits/tensor_iff'"
    )


def test_a_deletion_is_hydras_business(composer: Composer) -> None:
    (composition,) = composer.batch(["+model=tiny", "~model.build.in_features"]).compositions
    assert "in_features" not in composition.config.model.build


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ([], "nothing to export: choose a model, +model=NAME; there are: "),
        (["opset=18"], "nothing to export"),
        (["+fleet=nightli"], "+fleet=nightli: there is no fleet 'nightli'; did you mean nightly?"),
        (["+model=tiny", "+fleet=nightly"], "+model and +fleet: give one of them"),
        (["+model=tny"], "+model=tny: there is no model 'tny'; did you mean tiny?"),
        (["+model=tiny,rch"], "+model=tiny,rch: there is no model 'rch'; did you mean rich?"),
        (["+model=glob(zz*)"], "+model=glob(zz*): matches none; there are: "),
        (["model=tiny"], "model=tiny: write +model=tiny"),
        (["+model=tiny", "+exporter=dynamo"], "+exporter=dynamo: write exporter=dynamo"),
        (["+model=tiny", "exporter@other=dynamo"], "exporter@other=dynamo: write exporter=dynamo"),
        (["+model=tiny", "cluster=local,inline"], "cluster=local,inline: cluster holds for the run as a whole"),
        (["+model=tiny", "opset=18", "opset=20"], "opset=20: opset is given twice"),
        (["+model=tiny", "opset=interval(1,3)"], "opset=interval(1,3): an interval has no values to sweep over"),
        (["+model=tiny", "opset=range(3,3)"], "opset=range(3,3): is a sweep over nothing"),
        (["+model=tiny", "opset=[18"], "opset=[18: cannot be read as key=value"),
        (["+model=tiny", "~nothing"], "+model=tiny: Could not delete from config. 'nothing' does not exist."),
    ],
)
def test_what_makes_no_batch_is_refused(composer: Composer, overrides: list[str], complaint: str) -> None:
    assert problems(composer, *overrides)[0].startswith(complaint)


def test_mistakes_in_several_overrides_are_told_together(composer: Composer) -> None:
    found = problems(composer, "+model=tny", "exporter=dynam", "opset=[18")
    assert [problem.partition(":")[0] for problem in found] == ["opset=[18", "+model=tny", "exporter=dynam"]


# With folders of their own


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refused(folder: Path, *overrides: str, hydra_overrides: tuple[str, ...] = ()) -> list[str]:
    return problems(Composer(*hydra_at(folder, *hydra_overrides)), *overrides)


def test_a_users_file_with_the_name_of_one_of_ours_is_refused(tmp_path: Path) -> None:
    mine = [write(tmp_path, name, "name: mine\n") for name in ("config.yaml", "exporter/dynamo.yaml")]
    write(tmp_path, "exporter/mine.yaml", "name: mine\n")
    found = refused(tmp_path, "+model=tiny")
    assert found == [f"{file}: has the name of a file of the orchestrator's own; rename it" for file in mine]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nam: x", "{file}: unknown key 'nam'; did you mean name"),
        ("inputs: [{nme: x}]", "{file}: unknown key 'nme'; did you mean name"),
        ("dims: {batch: {min: one}}", "{file}: model.dims.batch.min: Value 'one' of type 'str' could not be converted"),
        ("[a, b]", "{file}: Cannot merge DictConfig with ListConfig"),
        ("a: &a [*a]", "+model=x: the file contains itself"),
        ("{a: [1", '+model=x: while parsing a flow sequence in "{file}", line 1'),
        ("defaults: [nowhere]", "+model=x: In 'model/x': Could not load 'model/nowhere'."),
    ],
)
def test_a_model_file_that_does_not_fit_the_schema_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    file = write(tmp_path, "model/x.yaml", text)
    (problem,) = refused(tmp_path, "+model=x")
    assert problem.startswith(complaint.format(file=file))


def test_mistakes_in_several_files_are_told_together(tmp_path: Path) -> None:
    files = [write(tmp_path, f"model/{name}.yaml", "nam: x") for name in "ab"]
    assert [problem.partition(":")[0] for problem in refused(tmp_path, "+model=a,b")] == [*map(str, files)]


def test_another_launcher_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "hydra/launcher/other.yaml", "_target_: other")
    found = refused(tmp_path, "+model=tiny", hydra_overrides=("hydra/launcher=other",))
    assert found == ["hydra/launcher=other: the orchestrator places its work itself and takes no launcher"]


# Fleets and grafts


def test_options_that_do_not_depend_on_each_other_are_put_together_as_hydra_would(composer: Composer) -> None:
    options = ["+model=tiny,rich", "exporter=dynamo,torchscript", "target=cpu,cuda", "verify=quick,standard"]
    grafted = composer.batch(options).compositions
    assert len(grafted) == 16
    for composition in grafted:
        config = composition.config
        names = (config.model.name, config.exporter.name, config.target.name, config.verify.level)
        chosen = [
            f"{p}{g}={n}" for p, g, n in zip(("+", "", "", ""), ("model", "exporter", "target", "verify"), names, strict=True)
        ]
        (whole,) = composer.batch(chosen).compositions
        assert config == OmegaConf.masked_copy(whole.config, [key for key in whole.config if key != "hydra"])
        assert OmegaConf.get_type(config.model) is ModelConfig


@pytest.mark.parametrize(
    "text",
    [
        "# @package _global_\nverify: {level: quick}\nexporter: {optimize: false}\n",
        "level: ${oc.env:LEVEL,quick}\nseed: ${opset}\n",
    ],
)
def test_options_that_reach_further_are_composed_by_hydra(tmp_path: Path, text: str) -> None:
    tiny = (ROOT / "tests" / "configs" / "model" / "tiny.yaml").read_text()
    for model in "abc":
        write(tmp_path, f"model/{model}.yaml", tiny)
    write(tmp_path, "verify/mine.yaml", text)
    batch = Composer(*hydra_at(tmp_path)).batch(["+model=a,b,c", "verify=quick,mine"])
    assert [str(c.config.verify.level) for c in batch.compositions] == ["quick"] * 6
    assert [c.config.verify.seed == c.config.opset for c in batch.compositions] == [False, "opset" in text] * 3
    assert [c.config.exporter.optimize for c in batch.compositions] == [True, "optimize" not in text] * 3


def with_fleet(folder: Path, text: str) -> Composer:
    tiny = (ROOT / "tests" / "configs" / "model" / "tiny.yaml").read_text()
    for model in "ab":
        write(folder, f"model/{model}.yaml", tiny)
    write(folder, "fleet/mine.yaml", text)
    return Composer(*hydra_at(folder))


FLEET = """
models: [a, b]
matrix: {exporter: [dynamo, torchscript], opset: [18, 20]}
overrides: {b: [opset=23, limits.seconds=5]}
exclude: ["b-torchscript-*"]
"""


def asked(composer: Composer, *overrides: str) -> list[tuple[str, str, dict[str, tuple[object, ...]]]]:
    batch = composer.batch(overrides)
    return [
        (
            composition.model_file.stem,
            composition.config.exporter.name,
            {assignment.key: assignment.values for assignment in (*composition.assignments, *batch.assignments)},
        )
        for composition in batch.compositions
    ]


def test_a_fleet_is_its_models_times_its_matrix_with_what_differs(tmp_path: Path) -> None:
    mine = with_fleet(tmp_path, FLEET)
    b = {"opset": (23,), "limits.seconds": (5,)}
    assert asked(mine, "+fleet=mine") == [
        ("a", "dynamo", {"opset": (18, 20)}),
        ("a", "torchscript", {"opset": (18, 20)}),
        ("b", "dynamo", b),
        ("b", "torchscript", b),
    ]
    assert mine.batch(["+fleet=mine"]).compositions[0].fleet is not None


def test_the_command_line_replaces_axes_and_adds_to_all_cells(tmp_path: Path) -> None:
    found = asked(
        with_fleet(tmp_path, FLEET), "+fleet=mine", "exporter=dynamo", "opset=19", "dtype=float16", "limits.seconds=7"
    )
    everywhere = {"opset": (19,), "dtype": ("float16",), "limits.seconds": (7,)}
    assert found == [("a", "dynamo", everywhere), ("b", "dynamo", everywhere)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("modls: [a]", "unknown key 'modls'; did you mean models?"),
        ("models: [c]", "models: c: there is no model 'c'"),
        ("{models: [a], overrides: {a: [trust=x]}}", "overrides: trust=x: trust is not for one model of a fleet to say"),
        ("{models: [a], overrides: {a: [model=b]}}", "overrides: model=b: model is not for one model of a fleet to say"),
    ],
)
def test_a_fleet_that_cannot_be_is_told_with_its_file(tmp_path: Path, text: str, complaint: str) -> None:
    (problem, *_) = problems(with_fleet(tmp_path, text), "+fleet=mine")
    assert problem.startswith(f"{tmp_path}/fleet/mine.yaml: {complaint}")


def test_an_axis_of_a_fleet_with_an_unknown_option_is_told(tmp_path: Path) -> None:
    (problem, *_) = problems(with_fleet(tmp_path, "{models: [a], matrix: {exporter: [dynam]}}"), "+fleet=mine")
    assert problem.startswith("exporter=dynam: there is no exporter 'dynam'; did you mean dynamo")
