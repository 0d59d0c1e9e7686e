"""The wheel, an editable install and the source tree all find the configuration and the Hydra plugin."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIST_PLUGINS = "from hydra.core.plugins import Plugins; from hydra.plugins.sweeper import Sweeper; \
print([c.__module__ for c in Plugins.instance().discover(Sweeper) if 'orchestrator' in c.__module__])"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


def environment(folder: Path) -> Path:
    """A new environment that sees the locked packages of this one; returns its interpreter."""
    venv.create(folder, with_pip=False)
    interpreter = folder / "bin" / "python"
    packages = Path(run(interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip())
    (packages / "locked.pth").write_text(sysconfig.get_path("purelib"))
    return interpreter


def install(interpreter: Path, *what: str | Path) -> None:
    uv = (sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--no-build-isolation", "--offline")
    done = run(*uv, "--python", interpreter, *what, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def check_that_it_works(interpreter: Path, folder: Path) -> None:
    """`python -m orchestrator` from any folder: the version, the plugin, the groups of conf."""
    assert run(interpreter, "-m", "orchestrator", "--version", cwd=folder).returncode == 0
    assert "orchestrator_sweeper" in run(interpreter, "-c", LIST_PLUGINS, cwd=folder).stdout
    unknown = run(interpreter, "-m", "orchestrator", "+model=resnet5", cwd=folder)
    assert unknown.returncode == 2
    assert "resnet50" in unknown.stderr
    assert list(folder.glob("runs")) == []


def test_the_wheel_carries_conf_inside_the_package_and_nothing_at_top_level(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "orchestrator/conf/config.yaml" in names
    assert "orchestrator/conf/model/resnet50.yaml" in names
    needed = [path for folder in ("starter", "report/page") for path in (ROOT / "orchestrator" / folder).rglob("*")]
    assert {path.relative_to(ROOT).as_posix() for path in needed if path.is_file()} <= {*names}
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"orchestrator", "exporters", "hydra_plugins"}


def test_the_wheel_works_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    interpreter = environment(tmp_path / "venv")
    install(interpreter, wheel)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    check_that_it_works(interpreter, elsewhere)


def test_an_editable_install_works_from_any_folder(tmp_path: Path) -> None:
    interpreter = environment(tmp_path / "venv")
    install(interpreter, "--editable", ROOT)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    check_that_it_works(interpreter, elsewhere)


def test_the_source_tree_works_without_being_installed() -> None:
    assert "orchestrator_sweeper" in run(sys.executable, "-c", LIST_PLUGINS, cwd=ROOT).stdout
