from __future__ import annotations

from dataclasses import dataclass

import pytest

from exporters.base import Dim
from orchestrator.keys.semantics import EXPORTED, VERIFIED, order, picked
from orchestrator.spec import ExporterSpec, OutputSpec, VerifyLevel, VerifySpec


def test_only_the_fields_of_the_table_are_taken() -> None:
    output = OutputSpec(name="y", rtol=0.1, constant=True)
    assert picked([output], EXPORTED) == [{"name": "y", "constant": True}]
    assert picked([output], VERIFIED) == [{"name": "y", "rtol": 0.1, "atol": None}]


def test_what_is_taken_is_plain() -> None:
    dims = {"n": Dim(name="n", min=1, max=None)}
    assert picked(dims, EXPORTED) == {"n": {"name": "n", "min": 1, "max": None}}
    assert picked(ExporterSpec(name="e", options={"o": (1, [2])}), EXPORTED) == {"name": "e", "options": {"o": [1, [2]]}}
    level = picked(VerifySpec(level=VerifyLevel.QUICK, seed=0, k=4.0), VERIFIED)["level"]
    assert level == "quick"


def test_a_type_of_no_table_is_our_mistake() -> None:
    @dataclass
    class Unknown:
        x: int

    with pytest.raises(KeyError):
        picked(Unknown(x=1), EXPORTED)


def test_the_order_of_keys_is_that_of_the_text() -> None:
    assert [*order({"b": [{"d": 1}, "text"], "a": {"c": {}}})] == ["b", "d", "a", "c"]
