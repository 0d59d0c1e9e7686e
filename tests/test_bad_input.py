"""Each mistake of a user, as a process that is started: exit code 2, one clear line, nothing begun, no folder left."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "tests" / "configs"
TINY = (CONFIGS / "model" / "tiny.yaml").read_text()
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


def refusal(folder: Path, *arguments: str, configs: Path = CONFIGS) -> str:
    """What the command says on the mistake, after checking that it did nothing else."""
    here = folder / "here"
    here.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    command = [sys.executable, "-m", "orchestrator", "--config-dir", str(configs), *arguments]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert list(here.iterdir()) == []
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["+model=tny"], "+model=tny: there is no model 'tny'; did you mean tiny? There are: "),
        ([], "nothing to export: choose a model, +model=NAME; there are: "),
        (["+model=tiny", "+fleet=nightly"], "+model and +fleet: give one of them; a fleet names its models itself"),
        (
            ["+model=tiny", "exporter=dynam"],
            "exporter=dynam: there is no exporter 'dynam'; did you mean dynamo? There are: dynamo, ",
        ),
        (["+model=tiny", "opset=new"], "opset=new: Value 'new' of type 'str' could not be converted to Integer"),
        (["+model=tiny", "opset=18,99"], "opset=99: out of range; the installed onnx knows 1 to "),
        (["+model=tiny", "opsett=18"], "opsett=18: unknown key 'opsett'; did you mean opset or select? There are: "),
        (["+model=tiny", "exporter.optimise=true"], "exporter.optimise=true: unknown key 'optimise'; did you mean optimize?"),
        (
            ["+model=tiny", "limits.seconds=soon"],
            "limits.seconds=soon: Value 'soon' of type 'str' could not be converted to Float",
        ),
        (["+model=tiny", "exporter.optimize=7"], "exporter.optimize=7: 7 is not of the type of the default, True"),
        (["+model=tiny", "model.dims.batch.min=20"], "/model/tiny.yaml: dims.batch: min 20 is above max 16"),
        (["+model=tiny", "hydra/sweeper=basic"], "hydra/sweeper=basic: the orchestrator has its own sweeper and launcher"),
        (["+model=tiny", "--config-name=nothing"], "Cannot find primary config 'nothing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_on_the_command_line(tmp_path: Path, arguments: list[str], message: str) -> None:
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
        "torch.nn.Linear, in_features: 4, out_features: 3",
        "os.system, command: exit",
        "build: `os.system` is not trusted",
    ),
    "untrusted_by_a_name_that_was_imported": (
        "torch.nn.Linear, in_features: 4, out_features: 3",
        "torch.nn.modules.linear.math.exp",
        "build: `torch.nn.modules.linear.math.exp` is not trusted: it is `math.exp`",
    ),
    "untrusted_deep_down": (
        "out_features: 3",
        "out_features: {_target_: builtins.eval}",
        "build: `builtins.eval` is not trusted",
    ),
    "zoo_is_not_installed": (
        "torch.nn.Linear, in_features: 4, out_features: 3",
        "torchvision.models.resnet18",
        "the package `torchvision` is not installed; it comes with the extra `zoo`: pip install 'onnx-batch-exporter[zoo]'",
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
    (line,) = [line for line in said.splitlines() if line.startswith(f"{folder}/{name}.yaml: ")]
    assert expected in line
