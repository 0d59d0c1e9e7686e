from __future__ import annotations

import ast
from pathlib import Path

import pytest

from orchestrator.verify import native
from tests.verify import samples


def complaint(path: Path) -> str | None:
    with native.start(path) as wait:
        return wait()


def test_a_good_file_has_no_complaint_also_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = samples.pair(tmp_path / "artifact").path
    monkeypatch.chdir(tmp_path)
    with native.start(path) as wait:
        assert wait() is None
        assert wait() is None


@pytest.mark.parametrize("content", [b"", b"\xff" * 50])
def test_a_bad_file_has_one_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    found = complaint(path)
    assert found
    assert "\n" not in found


def test_a_checker_that_crashes_is_a_complaint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "crash.py"
    script.write_text("import os; os.abort()")
    monkeypatch.setattr(native, "__file__", str(script))
    assert "crashed (exit code -6)" in str(complaint(tmp_path))


def test_a_checker_that_hangs_is_a_complaint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "hang.py"
    script.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(native, "__file__", str(script))
    monkeypatch.setattr(native, "DEADLINE_SECONDS", 0.2)
    assert "did not end within" in str(complaint(tmp_path))


def test_as_a_script_it_needs_nothing_of_this_project() -> None:
    tree = ast.parse(Path(native.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in names | modules if str(name).startswith(("orchestrator", "exporters"))]
