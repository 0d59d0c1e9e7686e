from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from orchestrator.commands import init
from orchestrator.errors import UserError

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).parents[2]


def unused(_: Sequence[str]) -> object:
    raise AssertionError("init configures nothing")


def call(folder: Path) -> int:
    return init.main([str(folder)], unused)  # type: ignore[arg-type]


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("exists", [True, False])
def test_a_new_or_an_empty_folder_is_filled(tmp_path: Path, exists: bool, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my configs"
    if exists:
        folder.mkdir()
    assert call(folder) == 0
    models = {"model/my_encoder.yaml", "model/my_scorer.yaml"}
    assert files(folder) == {"README.md", "my_models.py", "model.schema.json", "fleet/my_fleet.yaml", *models}
    assert f"python -m orchestrator --config-dir {shlex.quote(str(folder))} +model=my_encoder" in capsys.readouterr().out


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    with pytest.raises(UserError, match="is not empty"):
        call(tmp_path)
    assert files(tmp_path) == {".hidden"}


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_where_no_folder_can_be_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError):
        call(tmp_path / name)


def test_each_model_refers_to_the_schema_beside_it_and_follows_it(tmp_path: Path) -> None:
    init.write(tmp_path)
    for path in (tmp_path / "model").glob("*.yaml"):
        named = re.fullmatch(r"# yaml-language-server: \$schema=(.+)", path.read_text().splitlines()[0])
        assert named is not None
        schema = yaml.safe_load((path.parent / named[1]).read_text())
        jsonschema.validate(yaml.safe_load(path.read_text()), schema)


def test_no_name_is_one_of_ours(tmp_path: Path) -> None:
    init.write(tmp_path)
    for group in ("model", "fleet"):
        assert not {path.name for path in (tmp_path / group).iterdir()} & {
            path.name for path in (ROOT / "conf" / group).iterdir()
        }


@pytest.mark.e2e
def test_what_it_says_and_what_it_writes_works_word_by_word(tmp_path: Path) -> None:
    said = run(f"python -m orchestrator init {tmp_path / 'mine'}", tmp_path)
    commands = [(line, tmp_path) for line in said.splitlines() if line.startswith("    python")]
    readme = (tmp_path / "mine" / "README.md").read_text()
    commands += [(line, tmp_path / "mine") for line in readme.splitlines() if line.startswith("    python")]
    assert len(commands) == 5
    printed = [run(command, folder) for command, folder in commands]
    assert "7 cells ended as expected" in printed[-2]
    assert re.search(r"7 cells in \d units, about \d+ s on", printed[-1])
    assert "known issue" in printed[-2]


def run(command: str, folder: Path) -> str:
    """What a command of the texts prints; it has to end well."""
    words = shlex.split(command)
    assert words[0] == "python"
    typed, environment = [sys.executable, *words[1:]], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(typed, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
