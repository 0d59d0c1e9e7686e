from __future__ import annotations

import pytest

from orchestrator import errors


def test_each_kind_of_error_has_its_exit_code_and_the_docstring_draws_the_tree() -> None:
    codes = {kind.__name__: kind.exit_code for kind in errors.OrchestratorError.__subclasses__()}
    assert codes == {"UserError": 2, "EnvironmentRefusedError": 3, "InterruptedRunError": 130}
    for name, code in codes.items():
        assert any(name in line and f"exit {code}" in line for line in str(errors.__doc__).splitlines())


def test_several_mistakes_are_shown_together() -> None:
    error = errors.UserError("opset=x: no number", "dtype=y: unknown")
    assert str(error) == "opset=x: no number\ndtype=y: unknown"
    assert tuple(error.problems) == ("opset=x: no number", "dtype=y: unknown")
    with pytest.raises(AssertionError):
        errors.UserError()


def test_a_disk_that_refuses_is_the_environment() -> None:
    error = errors.StorageError("disk_full", "no space")
    assert (error.kind, error.exit_code) == ("disk_full", 3)
