from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest

import orchestrator
from orchestrator.__main__ import VERBS, main
from orchestrator.errors import EnvironmentRefusedError
from orchestrator.spec import RunSpec

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "tests" / "configs"
OPTIONS = sorted(path.relative_to(ROOT / "conf").with_suffix("") for path in (ROOT / "conf").glob("*/*.yaml"))
"""Every option of every group, `group/name`."""


class FakeRun(ModuleType):
    """Stands for `orchestrator.commands.run`: keeps what it is given and does nothing."""

    def __init__(self) -> None:
        super().__init__("orchestrator.commands.run")
        self.spec: RunSpec
        self.configs: Mapping[str, str]
        self.as_json: bool
        self.answer: Callable[[], int] = lambda: 7

    def run(self, spec: RunSpec, configs: Mapping[str, str], *, as_json: bool = False) -> int:
        self.spec, self.configs, self.as_json = spec, configs, as_json
        return self.answer()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeRun:
    module = FakeRun()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    return module


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, fake: FakeRun) -> Callable[..., int]:
    """The command, in this process, with the tests' configs and the fake run."""
    assert sys.modules[fake.__name__] is fake

    def call(*arguments: str, config_dir: Path = CONFIGS) -> int:
        monkeypatch.setattr(sys, "argv", ["orchestrator", "--config-dir", str(config_dir), *arguments])
        return main()

    return call


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def a_model(folder: Path, name: str, more: str = "", head: str = "") -> Path:
    return write(folder, f"model/{name}.yaml", head + (CONFIGS / "model" / "tiny.yaml").read_text() + more)


# Verbs


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_a_help_of_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    monkeypatch.setattr(sys, "argv", ["orchestrator", verb, "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert f"usage: python -m orchestrator {verb} " in capsys.readouterr().out


def test_the_help_of_the_tool_lists_every_verb() -> None:
    text = (ROOT / "conf/config.yaml").read_text()
    assert all(f"python -m orchestrator {verb} " in text for verb in VERBS)


def test_an_unknown_verb_is_told_with_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["orchestrator", "verfy", "model.onnx"])
    assert main() == 2
    assert capsys.readouterr().err.startswith(
        f"verfy: there is no verb 'verfy'; did you mean verify? There are: {', '.join(sorted(VERBS))};"
    )


# From the command line to the run


def test_the_specs_go_to_the_run_and_its_exit_code_is_ours(command: Callable[..., int], fake: FakeRun) -> None:
    assert command("+model=tiny", "opset=18,20") == 7
    assert [(request.model.name, request.opset) for request in fake.spec.requests] == [("tiny", 18), ("tiny", 20)]
    assert fake.spec.settings.overrides == ("+model=tiny", "opset=18,20")
    assert sys.argv[-2:] == ["+model=tiny", "opset=18,20"]
    assert fake.configs.keys() == {"config.yaml", "hydra.yaml", "overrides.yaml"}


def test_nothing_is_written_before_the_run(command: Callable[..., int], fake: FakeRun, tmp_path: Path) -> None:
    command("+model=tiny", "exporter=dynamo,torchscript")
    assert len(fake.spec.requests) == 2
    assert list(tmp_path.iterdir()) == []


def test_flags_and_overrides_mix_and_multirun_changes_nothing(command: Callable[..., int], fake: FakeRun) -> None:
    assert command("-m", "+model=tiny", "--config-name", "config", "opset=18") == 7
    assert [request.opset for request in fake.spec.requests] == [18]


def test_the_folder_of_the_runs_is_hydras_sweep_folder(command: Callable[..., int], fake: FakeRun, tmp_path: Path) -> None:
    command("+model=tiny", "hydra.sweep.dir=elsewhere")
    assert fake.spec.settings.runs == str(tmp_path / "elsewhere")


def test_an_option_of_one_exporter_can_be_set_when_exporters_are_swept(command: Callable[..., int], fake: FakeRun) -> None:
    command("+model=tiny", "exporter=torchscript,torchscript_script", "exporter.do_constant_folding=false")
    assert [request.exporter.options["do_constant_folding"] for request in fake.spec.requests] == [False, False]


@pytest.mark.parametrize("group", ["model", "exporter", "target", "verify"])
def test_every_option_of_ours_composes_and_loads(command: Callable[..., int], fake: FakeRun, group: str) -> None:
    names = ",".join(option.name for option in OPTIONS if option.parts[0] == group)
    assert command(*([f"+model={names}"] if group == "model" else ["+model=tiny", f"{group}={names}"])) == 7
    assert len(fake.spec.requests) == names.count(",") + 1


@pytest.mark.parametrize("name", [option.name for option in OPTIONS if option.parts[0] == "cluster"])
def test_every_cluster_of_ours_composes_and_loads(command: Callable[..., int], fake: FakeRun, name: str) -> None:
    address = ["cluster.address=127.0.0.1:6379"] if name == "ray" else []
    assert command("+model=tiny", f"cluster={name}", *address) == 7
    assert fake.spec.settings.cluster.kind == name


@pytest.mark.parametrize("name", [option.name for option in OPTIONS if option.parts[0] == "fleet"])
def test_every_fleet_of_ours_composes_and_loads(command: Callable[..., int], fake: FakeRun, name: str) -> None:
    assert command(f"+fleet={name}") == 7
    assert len(fake.spec.requests) >= 8
    assert fake.spec.warnings == ()


def test_the_plan_for_a_script_is_asked_for_with_a_flag(
    command: Callable[..., int], fake: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("+model=tiny", "plan=true", "--json") == 7
    assert (fake.spec.plan_only, fake.as_json) == (True, True)
    assert command("+model=tiny", "--json") == 2
    assert capsys.readouterr().err.startswith("--json: prints the plan, with plan=true")


def test_every_option_of_ours_says_when_to_choose_it() -> None:
    silent = [str(path) for path in OPTIONS if not (ROOT / "conf" / f"{path}.yaml").read_text().startswith("# ")]
    assert silent == []


def test_an_error_of_the_run_is_told_and_has_its_exit_code(
    command: Callable[..., int], fake: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> int:
        raise EnvironmentRefusedError("the disk is full")

    fake.answer = refuse
    assert command("+model=tiny") == 3
    assert capsys.readouterr().err == "the disk is full\n"


def test_ctrl_c_is_exit_code_130(command: Callable[..., int], fake: FakeRun) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    fake.answer = interrupted
    assert command("+model=tiny") == 130


def test_a_mistake_of_ours_is_not_blamed_on_the_user(command: Callable[..., int], fake: FakeRun) -> None:
    def broken() -> int:
        raise ValueError("ours")

    fake.answer = broken
    with pytest.raises(ValueError, match="ours"):
        command("+model=tiny")


@pytest.mark.parametrize("wish", [None, "1"])
def test_the_environment_is_left_as_it_was(
    command: Callable[..., int], fake: FakeRun, monkeypatch: pytest.MonkeyPatch, wish: str | None
) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    if wish is not None:
        monkeypatch.setenv("HYDRA_FULL_ERROR", wish)
    command("+model=tiny")
    assert fake.spec.requests
    assert os.environ.get("HYDRA_FULL_ERROR") == wish


# A user's own primary config, and what other files may not do


def test_a_primary_config_of_the_users_own_may_trust(command: Callable[..., int], fake: FakeRun, tmp_path: Path) -> None:
    write(tmp_path, "mine.yaml", "defaults: [config, _self_]\nopset: 19\ntrust: [mypackage.*]\n")
    a_model(tmp_path, "net")
    assert command("--config-name=mine", "+model=net", config_dir=tmp_path) == 7
    assert fake.spec.settings.trust == ("mypackage.*",)
    assert fake.spec.requests[0].opset == 19


def test_a_primary_config_that_leaves_ours_out_is_refused(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "mine.yaml", "opset: 19\n")
    before = [*tmp_path.rglob("*")]
    assert command("--config-name=mine", "+model=tiny", config_dir=tmp_path) == 2
    assert "begin it with defaults: [config, _self_]" in capsys.readouterr().err
    assert [*tmp_path.rglob("*")] == before


def test_a_model_file_cannot_add_to_what_is_trusted(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "model/evil.yaml", "# @package _global_\ndefaults: [tiny@model, _self_]\ntrust: ['os.*']\n")
    a_model(tmp_path, "tiny")
    assert command("+model=evil", config_dir=tmp_path) == 2
    assert "trust: only the primary config and the command line may set it" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["+model=evil"], ["--help", "+model=evil"]])
def test_a_model_file_cannot_make_hydra_run_anything(command: Callable[..., int], tmp_path: Path, arguments: list[str]) -> None:
    trace = tmp_path / "trace"
    handler = f"{{class: logging.FileHandler, filename: {trace}}}"
    logging = f"{{version: 1, handlers: {{evil: {handler}}}, root: {{handlers: [evil]}}}}"
    callbacks = f"{{evil: {{_target_: pathlib.Path.touch, self: {trace}}}}}"
    head = f"# @package _global_\ndefaults: [tiny@model, _self_]\nhydra: {{hydra_logging: {logging}, callbacks: {callbacks}}}\n"
    write(tmp_path, "model/evil.yaml", head)
    a_model(tmp_path, "tiny")
    with contextlib.suppress(SystemExit):  # Hydra's help ends the process
        command(*arguments, config_dir=tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["hydra/sweeper=basic"],
        ["hydra/launcher=basic"],
        ["hydra.mode=RUN"],
        ["hydra.run.dir=out"],
        ["++hydra.callbacks={}"],
        ["hydra={}"],
        ["--config-path=/tmp"],
        ["--resolve"],
        ["--package=model"],
        ["--experimental-rerun=config.pickle"],
    ],
)
def test_what_of_hydra_would_have_no_effect_is_refused(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert command("+model=tiny", *arguments) == 2
    assert capsys.readouterr().err.startswith(arguments[0].partition("=")[0])


# Hydra's own commands


def test_the_version_is_ours(command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--version") == 0
    assert capsys.readouterr().out == f"{orchestrator.__version__}\n"


def process(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orchestrator", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.e2e
def test_a_reader_that_leaves_gets_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "orchestrator", "--version"]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_help_is_for_a_person_and_names_the_groups(tmp_path: Path) -> None:
    done = process("--help", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "exporter: dynamo, torchscript, torchscript_script" in done.stdout
    assert done.stdout.count("  python -m orchestrator ") >= 5
    assert "Powered by Hydra" not in done.stdout


@pytest.mark.e2e
def test_the_config_can_be_looked_at(tmp_path: Path) -> None:
    done = process("--config-dir", str(CONFIGS), "--cfg", "job", "+model=tiny", "opset=18", folder=tmp_path)
    assert done.returncode == 0
    assert "opset: 18" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.e2e
def test_reading_the_command_line_imports_neither_torch_nor_ray() -> None:
    code = """
import sys, types
fake = types.ModuleType("orchestrator.commands.run")
fake.run = lambda spec, configs, as_json: print(sorted({"torch", "ray", "onnxruntime"} & {*sys.modules})) or 0
sys.modules[fake.__name__] = fake
from orchestrator.__main__ import VERBS, main
sys.exit(main())
"""
    command = [sys.executable, "-c", code, "--config-dir", str(CONFIGS), "+model=tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.returncode) == ("[]\n", 0)
