from __future__ import annotations

from orchestrator.spec import VerifyLevel
from orchestrator.verify.registry import CHECKS, EVERY_LEVEL, FULL


def test_every_check_has_its_module_and_a_level() -> None:
    for name, registered in CHECKS.items():
        assert registered.check.__module__ == f"orchestrator.verify.{name}"
        assert registered.levels


def test_a_higher_level_asks_for_all_that_a_lower_one_does() -> None:
    assert FULL < EVERY_LEVEL
    assert set(VerifyLevel) - EVERY_LEVEL == {VerifyLevel.OFF}
