from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from exporters import sources


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a blank in its name, on the import path."""
    folder = tmp_path / "my models"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_path_is_told_as_it_is_imported(package: Path) -> None:
    assert sources.relative(str(package / "zoo" / "net.py")) == "zoo/net.py"


def test_the_longest_import_path_leads_to_a_file(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package / "zoo"))
    assert sources.relative(str(package / "zoo" / "net.py")) == "net.py"


def test_of_a_file_that_is_not_importable_only_the_name_is_told() -> None:
    assert sources.relative("/somewhere/else/net.py") == "net.py"
    assert sources.relative("<string>") == "<string>"


@pytest.mark.parametrize(
    "file", [torch.__file__, sources.__file__, Path.__module__ and sys.modules["contextlib"].__file__, "<string>"]
)
def test_lines_of_exporters_and_of_python_are_not_the_models(file: str) -> None:
    assert sources.line(file, 12) is None


def test_lines_of_the_model_are(package: Path) -> None:
    assert sources.line(str(package / "net.py"), 12) == "net.py:12"


TORCH = Path(torch.__file__).parent / "nn" / "modules" / "linear.py"
OURS = Path(sources.__file__).with_name("dynamo.py")


def test_the_last_frame_of_the_model_counts_in_a_stack_as_python_writes_it(package: Path) -> None:
    trace = f"""Traceback (most recent call last):
  File "{package / "net.py"}", line 9, in forward
    return self.block(x)
  File "{package / "block.py"}", line 4, in forward
    return self.linear(x)
  File "{TORCH}", line 134, in forward
    return F.linear(input, self.weight, self.bias)
"""
    assert sources.innermost(trace) == "block.py:4 in forward"


def test_the_first_frame_of_the_model_counts_in_a_stack_as_tracing_writes_it(package: Path) -> None:
    trace = f"{TORCH}(134): forward\n{package / 'block.py'}(4): <lambda>\n{package / 'net.py'}(9): forward\n"
    assert sources.innermost(trace) == "block.py:4 in <lambda>"


def test_scripting_tells_no_function(package: Path) -> None:
    trace = f'  File "{package / "net.py"}", line 6\n    return y.relu()\n           ~~~~~~ <--- HERE\n'
    assert sources.innermost(trace) == "net.py:6"


def test_who_asked_for_the_export_is_not_the_model(package: Path) -> None:
    asked = package / "script.py"
    assert sources.innermost(f"{TORCH}(134): forward\n{OURS}(50): export\n{asked}(3): <module>\n") is None
    assert sources.innermost(f'  File "{asked}", line 3, in main\n  File "{OURS}", line 50, in export\n') is None


def test_a_stack_without_the_model_leads_nowhere() -> None:
    assert sources.innermost("") is None
    assert sources.innermost(f"{TORCH}(134): forward\n") is None


def test_an_error_is_told_in_one_line_with_the_line_that_raised() -> None:
    def forward() -> None:
        raise ValueError("\n  too long\nTry this:\n - and that")

    with pytest.raises(ValueError, match="too long") as caught:
        forward()
    line = forward.__code__.co_firstlineno + 1
    assert sources.told(caught.value) == f"ValueError: too long (at tests/exporters/test_sources.py:{line} in forward)"


def test_an_error_that_was_never_raised_or_says_nothing_is_told_all_the_same() -> None:
    assert sources.told(KeyError()) == "KeyError: "


def test_a_failure_of_the_interpreter_is_told_by_its_cause(package: Path) -> None:
    text = f'{sources.INTERPRETER_FAILED}\nTraceback of TorchScript:\n  File "{package / "net.py"}", line 6, in forward\n'
    assert (
        sources.told(RuntimeError(text + "RuntimeError: bad shape: 3\n"))
        == "RuntimeError: bad shape: 3 (at net.py:6 in forward)"
    )


def test_a_function_that_cannot_be_compiled_is_told_before_who_called_it(package: Path) -> None:
    text = f"""Lambdas aren't supported:
  File "{package / "block.py"}", line 6
    return lambda: 1
'Net.block' is being compiled since it was called from 'Net.forward'
  File "{package / "net.py"}", line 9
"""
    assert sources.told(RuntimeError(text)) == "RuntimeError: Lambdas aren't supported: (at block.py:6)"
