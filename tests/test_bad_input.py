"""Mistakes of a user and what a hostile config tries: nothing is executed, nothing is begun, one clear line each.

What reading and parsing decides ends with 2 and leaves no folder; the rest is refused in the child before anything is called.
Most are commands in this process; IN_FILES are told by one real command, IN_THE_CHILD by one run.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.__main__ import main

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "tests" / "configs"
TINY = (CONFIGS / "model" / "tiny.yaml").read_text()
CANARY = Path(tempfile.gettempdir()) / f"canary-{os.getpid()}"
"""What the hostile ones would write."""
WITHOUT_TORCHVISION = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "torchvision" else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""
"""As `sitecustomize`: an environment without the extra `zoo`."""


@pytest.fixture(autouse=True)
def nothing_executed() -> Iterator[None]:
    yield
    assert not CANARY.exists()


def process(folder: Path, *arguments: str, configs: Path = CONFIGS) -> subprocess.CompletedProcess[str]:
    """The command in an empty folder `here`."""
    here = folder / "here"
    here.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    command = [sys.executable, "-m", "orchestrator", "--config-dir", str(configs), *arguments]
    return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False, timeout=60)


def refusal(folder: Path, *arguments: str, configs: Path = CONFIGS) -> str:
    """What the command says on the mistake, after checking that it did nothing else."""
    done = process(folder, *arguments, configs=configs)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert list((folder / "here").iterdir()) == []
    return done.stderr


# On the command line, and in files that cannot even be read


UNREADABLE = {
    "model/tag.yaml": f"name: !!python/object/apply:os.system ['touch {CANARY}']\n",
    "model/syntax.yaml": f"{TINY}mode: [\n",
    "model/twice.yaml": f"{TINY}outputs: [again]\n",
    "model/list.yaml": "- 1\n- 2\n",
    "model/binary.yaml": bytes(range(128, 256)),
    "model/scalar.yaml": "just text\n",
    "model/empty.yaml": "",
    "model/cycle.yaml": f"{TINY}mode: ${{model.size}}\nsize: ${{model.mode}}\n",
    "model/nowhere.yaml": f"{TINY}mode: ${{model.modus}}\n",
    "model/resolver.yaml": f"{TINY}mode: ${{shell:touch {CANARY}}}\n",
    "model/itself.yaml": f"defaults: [itself]\n{TINY}",
    "model/missing.yaml": f"defaults: [nobody]\n{TINY}",
    "model/trusting.yaml": "# @package _global_\ntrust: ['os.*']\n",
    "model/calling.yaml": f"# @package _global_\nhydra: {{callbacks: {{a: {{_target_: os.mkdir, path: {CANARY}}}}}}}\n",
    "model/seed.yaml": TINY.replace("seed: 0", "seed: soon"),
    "model/size.yaml": TINY.replace("max: 16", "max: many"),
    "model/unknown.yaml": f"{TINY}evil: 1\n",
    "model/own_trust.yaml": f"{TINY}trust: ['*']\n",
    "fleet/nobody.yaml": "models: [nobody_*]\nmatrix: {opset: [20]}\n",
    "fleet/typo.yaml": "models: [tiny]\nmatrx: {opset: [20]}\n",
    "fleet/colour.yaml": "models: [tiny]\nmatrix: {colour: [red]}\n",
    "fleet/excluded.yaml": "models: [tiny]\nmatrix: {opset: [20]}\nexclude: ['*']\n",
    "fleet/no_models.yaml": "matrix: {opset: [20]}\n",
    "model/tiny.yaml": TINY,
}
COMMANDS = {
    "+model=tag": "+model=tag: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
    "+model=syntax": "+model=syntax: while parsing a flow node",
    "+model=twice": "found duplicate key outputs in ",
    "+model=list": "/model/list.yaml: Cannot merge DictConfig with ListConfig",
    "+model=binary": "+model=binary: 'utf-8' codec can't decode byte 0x80",
    "+model=scalar": "/model/scalar.yaml: unknown key 'just text'",
    "+model=empty": "/model/empty.yaml: inputs: is missing",
    "+model=cycle": "/model/cycle.yaml: model.mode: Recursive interpolation detected",
    "+model=nowhere": "/model/nowhere.yaml: model.mode: Interpolation key 'model.modus' not found",
    "+model=resolver": "/model/resolver.yaml: model.mode: Unsupported interpolation type shell",
    "+model=itself": "+model=itself: the file contains itself",
    "+model=missing": "Could not load 'model/nobody'",
    "+model=trusting": "trust: only the primary config and the command line may set it, not a file of a group",
    "+model=calling": "/model/calling.yaml: declares no model; its keys belong at the top of the file",
    "+model=seed": "/model/seed.yaml: model.weights.seed: Value 'soon' of type 'str' could not be converted to Integer",
    "+model=size": "/model/size.yaml: model.dims.batch.max: Value 'many' of type 'str' could not be converted to Integer",
    "+model=unknown": "/model/unknown.yaml: unknown key 'evil'; there are: build, ",
    "+model=own_trust": "/model/own_trust.yaml: unknown key 'trust'; there are: build, ",
    "+fleet=nobody": "/fleet/nobody.yaml: models: nobody_*: matches none; there are: ",
    "+fleet=typo": "/fleet/typo.yaml: unknown key 'matrx'; did you mean matrix?",
    "+fleet=colour": "/fleet/colour.yaml: matrix.colour: is no axis; they are exporter, opset, dtype, target",
    "+fleet=excluded": "exclude: leaves no cell of what was asked for",
    "+fleet=no_models": "/fleet/no_models.yaml: models: is empty",
    "+model=../../etc/passwd": "+model=../../etc/passwd: there is no model '../../etc/passwd'; there are: ",
    "": "nothing to export: choose a model, +model=NAME; there are: ",
    "+model=tiny +fleet=nightly": "+model and +fleet: give one of them; a fleet names its models itself",
    "+model=tiny exporter=dynam": "exporter=dynam: there is no exporter 'dynam'; did you mean dynamo? There are: dynamo, ",
    "+model=tiny opset=new": "opset=new: Value 'new' of type 'str' could not be converted to Integer",
    "+model=tiny opset=20.5": "opset=20.5: Value '20.5' of type 'float' could not be converted to Integer",
    "+model=tiny opset=18,99": "opset=99: out of range; the installed onnx knows 1 to ",
    "+model=tiny opset=-1": "opset=-1: out of range; the installed onnx knows 1 to ",
    "+model=tiny opset=18,": "opset=18,: cannot be read as key=value",
    "+model=tiny opset": "opset: cannot be read as key=value",
    "+model=tiny +opset=20": "+opset=20: there is a opset already; leave out the +",
    "+model=tiny opsett=18": "opsett=18: unknown key 'opsett'; did you mean opset or select? There are: ",
    "+model=tiny dtype=float13": "dtype=float13: not one of float64, float32, float16, bfloat16",
    "+model=tiny target=tpu": "target=tpu: there is no target 'tpu'; did you mean cpu? There are: cpu, ",
    "+model=tiny verify=harder": "verify=harder: there is no verify 'harder'; there are: ",
    "+model=tiny verify.k=-1": "verify: seed 0 must be at least 0 and k -1.0 above 0",
    "+model=tiny cluster=cloud": "cluster=cloud: there is no cluster 'cloud'; there are: inline, local, ray",
    "+model=tiny cluster=ray cluster.address=nowhere": "cluster.address=nowhere: with cluster=ray write host:port",
    "+model=tiny cluster.workers=-1": "cluster.workers=-1: at least 1, or null to choose",
    "+model=tiny store.path=": "store.path='': name a folder, or null for the one beside the runs",
    "+model=tiny limits.seconds=soon": "limits.seconds=soon: Value 'soon' of type 'str' could not be converted to Float",
    "+model=tiny limits.seconds=0": "limits.seconds=0: a deadline is above 0",
    "+model=tiny limits.memory=lots": "limits.memory=lots: no size in bytes; write a number above 0, or for example ",
    "+model=tiny deliver=some": "deliver=some: not one of all, changed, none",
    "+model=tiny force=maybe": "force=maybe: Value 'maybe' is not a valid bool",
    "+model=tiny only=good": "only=good: not one of failed, ",
    "+model=tiny trust=os": "trust=os: is no list; a list is written 'trust=[os]', in quotes",
    "+model=tiny exporter.optimise=true": "exporter.optimise=true: unknown key 'optimise'; did you mean optimize?",
    "+model=tiny exporter.optimize=7": "exporter.optimize=7: 7 is not of the type of the default, True",
    "+model=tiny model.dims.batch.min=20": "/model/tiny.yaml: dims.batch: min 20 is above max 16",
    "+model=tiny model.name=../x": "/model/tiny.yaml: name: '../x' is no name: letters, digits, ",
    "+model=tiny model.build._target_=os.system": "/model/tiny.yaml: build: `os.system` is not trusted",
    "+model=tiny hydra.run.dir=out": "hydra.run.dir=out: the orchestrator has its own sweeper and launcher",
    "verfy model.onnx": "verfy: there is no verb 'verfy'; did you mean verify? There are: ",
    "verify /nowhere.onnx +model=tiny": "/nowhere.onnx: cannot be read: No such file or directory",
    "resume /nowhere": "/nowhere: there is no such folder, nor one of that name in runs",
    "gc --keep 0": "--keep 0: at least one day",
    "gc --max-size big": "--max-size big: no size; write for example 500MB or 200GiB",
}
"""What must be said, in one line, or in one each where several things are wrong."""
SEVERAL = ("+model=empty", "+model=trusting")


@pytest.fixture(scope="module")
def unreadable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unreadable")
    for name, content in UNREADABLE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.mark.parametrize("typed", COMMANDS)
def test_a_command_that_is_refused_says_why_and_does_nothing(
    unreadable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    first, *_ = words = typed.split() or [""]
    configs = ["--config-dir", str(unreadable)] if "=" in first or not first else []
    monkeypatch.setattr(sys, "argv", ["orchestrator", *configs, *filter(None, words)])
    monkeypatch.chdir(tmp_path)
    assert main() == 2
    out, err = capsys.readouterr()
    assert COMMANDS[typed] in err
    assert out == ""
    assert err.count("\n") == 1 or typed in SEVERAL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["+model=tny"], "+model=tny: there is no model 'tny'; did you mean tiny? There are: "),
        (["+model=tiny", "hydra/sweeper=basic"], "hydra/sweeper=basic: the orchestrator has its own sweeper and launcher"),
        (["+model=tiny", "--config-name=nothing"], "Cannot find primary config 'nothing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_so_does_a_real_one(tmp_path: Path, arguments: list[str], message: str) -> None:
    said = refusal(tmp_path, *arguments)
    assert message in said
    assert said.count("\n") == 1


def test_a_folder_of_configs_that_is_not_there(tmp_path: Path) -> None:
    said = refusal(tmp_path, "+model=tiny", configs=tmp_path / "nowhere")
    assert f"Additional config directory '{tmp_path}/nowhere' not found" in said


def test_a_file_that_has_the_name_of_one_of_ours(tmp_path: Path) -> None:
    (tmp_path / "exporter").mkdir()
    (tmp_path / "exporter" / "dynamo.yaml").write_text("name: mine\n")
    assert refusal(tmp_path, "+model=tiny", configs=tmp_path).startswith(f"{tmp_path}/exporter/dynamo.yaml: has the name of")


def test_the_typos_of_several_files_are_told_together(tmp_path: Path) -> None:
    for name, old, new in (("one", "outputs", "outptus"), ("two", "min: 1", "min: one")):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / f"{name}.yaml").write_text(TINY.replace(old, new))
    said = refusal(tmp_path, "+model=one,two", configs=tmp_path)
    assert f"{tmp_path}/model/one.yaml: unknown key 'outptus'; did you mean outputs" in said
    assert (
        f"{tmp_path}/model/two.yaml: model.dims.batch.min: Value 'one' of type 'str' could not be converted to Integer" in said
    )


LINEAR = "torch.nn.Linear, in_features: 4, out_features: 3"
IN_FILES = {
    "dimension_not_declared": ("[batch, 4]", "[batch, time]", "inputs: dimension 'time' is used and not declared in dims"),
    "dimension_not_used": ("[batch, 4]", "[7, 4]", "dims.batch: is declared and no input uses it"),
    "minimum_above_maximum": ("min: 1", "min: 17", "dims.batch: min 17 is above max 16"),
    "integer_without_range": ("range: [-1, 1]", "dtype: int64", "inputs[0]: an input of dtype int64 needs range: [low, high)"),
    "weights_file_missing": ("{seed: 0}", "{file: gone.pt}", "weights.file: '{folder}/gone.pt' does not exist"),
    "weights_digest_differs": (
        "{seed: 0}",
        f"{{file: weights.pt, sha256: {'a' * 64}}}",
        f"weights.sha256: '{{folder}}/weights.pt' has {hashlib.sha256(b'weights').hexdigest()}, not {'a' * 64}",
    ),
    "untrusted": (
        LINEAR,
        "os.system, command: exit",
        "build: `os.system` is not trusted",
    ),
    "untrusted_by_a_name_that_was_imported": (
        LINEAR,
        "torch.nn.modules.linear.math.exp",
        "build: `torch.nn.modules.linear.math.exp` is not trusted: it is `math.exp`",
    ),
    "untrusted_deep_down": (
        "out_features: 3",
        "out_features: {_target_: builtins.eval}",
        "build: `builtins.eval` is not trusted",
    ),
    "zoo_is_not_installed": (
        LINEAR,
        "torchvision.models.resnet18",
        "the package `torchvision` is not installed; it comes with the extra `zoo`: pip install 'onnx-batch-exporter[zoo]'",
    ),
    "subprocess": (LINEAR, f"subprocess.run, args: [touch, {CANARY}]", "build: `subprocess.run` is not trusted. Trusted are "),
    "evaluates": (LINEAR, "builtins.eval, source: 1", "build: `builtins.eval` is not trusted"),
    "touches": (LINEAR, f"pathlib.Path.touch, self: {CANARY}", "build: `pathlib.Path.touch` is not trusted"),
    "runs_a_path": (LINEAR, "runpy.run_path, path_name: evil.py", "build: `runpy.run_path` is not trusted"),
    "unpickles": (LINEAR, "torch.load, f: evil.pt", "build: `torch.load` is not trusted: it is `torch.serialization.load`"),
    "asks_a_hub": (
        LINEAR,
        "torch.hub.load, repo_or_dir: a/b, model: c",
        "build: `torch.hub.load` is refused: `torch.hub.load` fetches",
    ),
    "private": (
        LINEAR,
        "torch.nn.Linear.__init__.__globals__",
        "build: `torch.nn.Linear.__init__.__globals__` is refused: `__init__` is private",
    ),
    "call_in_a_name": (
        LINEAR,
        "'torch.nn.Linear(); import os'",
        "build: 'torch.nn.Linear(); import os' is no dotted path of a class or function",
    ),
    "relative": (LINEAR, "..os.system", "build: '..os.system' is no dotted path of a class or function"),
    "line_break_in_a_name": (
        LINEAR,
        '"torch.nn.Linear\\nos.system"',
        "build: 'torch.nn.Linear\\nos.system' is no dotted path of a class or function",
    ),
    "number_as_target": (LINEAR, "7", "build: '7' is no dotted path of a class or function"),
    "module_as_target": (LINEAR, "torch.nn", "build: `torch.nn` is a module; a class or function in it was expected"),
    "near_name": (LINEAR, "torch.nn.Linaer", "build: `torch.nn.Linaer` does not exist; near names: Linear, "),
    "from_pretrained": (
        LINEAR,
        "transformers.AutoModel.from_pretrained, name: x",
        "build: `transformers.AutoModel.from_pretrained` is refused: ",
    ),
    "model_of_a_hub": (
        LINEAR,
        "timm.create_model, model_name: 'hf-hub:a/b'",
        "build: timm.create_model: `hf-hub:a/b` would be fetched or read from elsewhere",
    ),
    "pretrained": (
        LINEAR,
        "timm.create_model, model_name: resnet18, pretrained: true",
        "build: timm.create_model: `pretrained: True` fetches weights",
    ),
    "untrusted_in_a_list": (
        "out_features: 3",
        f"extra: [{{_target_: os.system, command: touch {CANARY}}}]",
        "build: `os.system` is not trusted",
    ),
    "untrusted_by_an_alias": (
        "out_features: 3",
        f"a: &e {{_target_: os.system, command: touch {CANARY}}}, b: *e",
        "build: `os.system` is not trusted",
    ),
    "untrusted_by_an_interpolation": (
        "out_features: 3",
        "extra: {_target_: 'os.${model.inputs.0.name}'}",
        "build: `os.features` is not trusted",
    ),
    "partial_of_hydra": ("out_features: 3", "_partial_: true", "build: torch.nn.Linear: `_partial_` is no argument"),
    "arguments_of_hydra": ("out_features: 3", "_args_: [1]", "build: torch.nn.Linear: `_args_` is no argument"),
    "code_of_a_hub": (
        "out_features: 3",
        "trust_remote_code: true",
        "build: torch.nn.Linear: `trust_remote_code: True` may execute code",
    ),
    "pickles": ("out_features: 3", "weights_only: false", "build: torch.nn.Linear: `weights_only: False` "),
    "address_as_argument": (
        "out_features: 3",
        "source: 'https://example.org/w.pth'",
        "build: torch.nn.Linear: `https://example.org/w.pth` would be fetched",
    ),
    "weights_missing": ("weights: {seed: 0}\n", "", "weights: is missing; give {seed: 0}, "),
    "weights_outside_of_their_package": (
        "{seed: 0}",
        "{package: torch, file: ../../etc/passwd}",
        "weights.file: '../../etc/passwd' is outside of the package torch",
    ),
    "digest_that_is_none": (
        "{seed: 0}",
        "{file: weights.pt, sha256: abc}",
        "weights.sha256: 'abc' is no digest: 64 hexadecimal digits",
    ),
    "address_of_another_kind": (
        "{seed: 0}",
        "{url: 'ftp://example.org/w', sha256: abc}",
        "weights.url: 'ftp://example.org/w' is no address of a file",
    ),
    "name_upwards": ("name: tiny", "name: ../../escape", "name: '../../escape' is no name: letters, digits, "),
    "name_absolute": ("name: tiny", "name: /tmp/escape", "name: '/tmp/escape' is no name: letters, digits, "),
    "name_with_nul": ("name: tiny", 'name: "a\\0b"', "name: 'a\\x00b' is no name: letters, digits, "),
    "name_with_line_break": ("name: tiny", 'name: "a\\nb"', "name: 'a\\nb' is no name: letters, digits, "),
    "name_hidden": ("name: tiny", "name: .hidden", "name: '.hidden' is no name: letters, digits, "),
    "name_empty": ("name: tiny", "name: ''", "name: '' is no name: letters, digits, "),
    "name_of_markup": ("name: tiny", "name: <script>", "name: '<script>' is no name: letters, digits, "),
    "output_upwards": ("[logits]", "[a/../b]", "outputs[0]: 'a/../b' is no name: letters, digits, "),
    "output_twice": ("[logits]", "[a, a]", "outputs: 'a' is declared twice"),
    "size_of_nothing": (
        "[batch, 4]",
        "[batch, 0]",
        "inputs[0].shape: 0 is neither a size of at least 1 nor the name of a dimension",
    ),
    "dtype_unknown": ("range: [-1, 1]", "dtype: float13", "inputs[0].dtype: 'float13' is none of float64, "),
    "range_upside_down": (
        "range: [-1, 1]",
        "range: [1, -1]",
        "inputs[0].range: [1.0, -1.0] is not [low, high) with finite low <= high",
    ),
    "range_not_finite": (
        "range: [-1, 1]",
        "range: [.nan, 1]",
        "inputs[0].range: [nan, 1.0] is not [low, high) with finite low <= high",
    ),
    "issue_that_passes": (
        "outputs:",
        "known_issues: [{cells: '*', status: passed, reason: no}]\noutputs:",
        "known_issues[0].status: 'passed' is none of export_failed, ",
    ),
    "option_unknown": (
        "outputs:",
        "exporter_options: {dynamo: {optimise: true}}\noutputs:",
        "exporter_options.dynamo.optimise: dynamo has no such option",
    ),
    "exporter_unknown": (
        "outputs:",
        "exporter_options: {nobody: {}}\noutputs:",
        "exporter_options: there is no exporter 'nobody'; there are: dynamo, ",
    ),
    "weights_address_without_digest": (
        "{seed: 0}",
        "{url: https://example.org/w.safetensors}",
        "weights.sha256: is missing; what is fetched from an address is used only if it has this digest",
    ),
    "names_given_twice": ("outputs:", "rename: {output: y}\noutputs:", "rename: has no effect where outputs gives the names"),
    "inputs_of_a_module_that_declares_them": (
        "outputs:",
        "exportable: true\noutputs:",
        "inputs: are the module's own with exportable: true; leave them out, or leave that out",
    ),
    "weights_package_is_not_installed": (
        "{seed: 0}",
        "{package: gone_weights, file: model.safetensors}",
        "weights.package: 'gone_weights' is not installed; install the distribution that holds it, probably gone-weights",
    ),
}
"""By name of the model: what is written instead of what in tiny.yaml, and what must be said."""


@pytest.fixture(scope="module")
def said_on_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the bad models, and what one command on all of them says."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "sitecustomize.py").write_text(WITHOUT_TORCHVISION)
    (folder / "model").mkdir()
    (folder / "model" / "weights.pt").write_bytes(b"weights")
    for name, (old, new, _) in IN_FILES.items():
        assert old in TINY
        (folder / "model" / f"{name}.yaml").write_text(TINY.replace(old, new))
    return folder / "model", refusal(folder, f"+model={','.join(IN_FILES)}", configs=folder)


@pytest.mark.parametrize("name", IN_FILES)
def test_a_mistake_in_a_file_is_told_with_all_others(said_on_files: tuple[Path, str], name: str) -> None:
    folder, said = said_on_files
    expected = IN_FILES[name][2].replace("{folder}", str(folder))
    lines = [line for line in said.splitlines() if line.startswith(f"{folder}/{name}.yaml: ")]
    assert any(expected in line for line in lines)


# What only the child can decide


class Evil:
    """Does its worst when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {CANARY}",)


IN_THE_CHILD = {
    "lazy_function": (LINEAR, "transformers.pipeline, task: x", "untrusted", "`transformers.pipeline` is not trusted"),
    "lazy_factory": (
        LINEAR,
        "transformers.AutoModel.from_config, config: x",
        "untrusted",
        "`transformers.AutoModel.from_config`",
    ),
    "hidden_call": (LINEAR, "hostile.models.Net", "untrusted", "`hostile.models.Net` is refused: it is no class or function"),
    "made_up": (LINEAR, "hostile.models.Anything", "untrusted", "`hostile.models.Anything` is refused: it is no"),
    "pickled_weights": (
        "{seed: 0}",
        "{file: evil.pt}",
        "BuildError",
        "/model/pickled_weights.yaml: torch.nn.Linear: UnpicklingError",
    ),
    "archive_as_weights": ("{seed: 0}", "{file: evil.pt2}", "BuildError", "UnpicklingError"),
}
"""By name of the model: what is written instead of what in tiny.yaml, the kind of its error and what is said."""
HOSTILE = f"""
import functools, os
Net = functools.partial(os.system, "touch {CANARY}")
def __getattr__(name):
    return functools.partial(os.system, "touch {CANARY}")
"""


@pytest.fixture(scope="module")
def refused_in_the_child(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The cells of one run, by model."""
    folder = tmp_path_factory.mktemp("child")
    for name in ("model", "hostile"):
        (folder / name).mkdir()
    (folder / "hostile/models.py").write_text(HOSTILE)
    (folder / "hostile/__init__.py").touch()
    for name in ("evil.pt", "evil.pt2"):
        (folder / "model" / name).write_bytes(pickle.dumps(Evil()))
    for name, (old, new, _, _) in IN_THE_CHILD.items():
        (folder / "model" / f"{name}.yaml").write_text(TINY.replace(old, new).replace("name: tiny", f"name: {name}"))
    arguments = ["cluster=inline", "exporter=torchscript", "trust=[hostile.models.*]"]
    models = ",".join(IN_THE_CHILD)
    done = process(folder, f"+model={models}", *arguments, configs=folder)
    assert done.returncode == 1, done.stderr
    report = json.loads((folder / "here/runs/latest/report.json").read_bytes())
    return {cell["model"]: cell for cell in report["cells"]}


@pytest.mark.parametrize("name", IN_THE_CHILD)
def test_what_parsing_cannot_decide_is_refused_before_anything_is_called(
    refused_in_the_child: dict[str, Any], name: str
) -> None:
    _, _, kind, words = IN_THE_CHILD[name]
    cell = refused_in_the_child[name]
    assert (cell["status"], cell["error"]["kind"]) == ("export_failed", kind)
    assert words in cell["reason"]
    assert "\n" not in cell["reason"]


def test_there_are_enough_of_them() -> None:
    assert len({*COMMANDS, *IN_FILES, *IN_THE_CHILD}) >= 60
