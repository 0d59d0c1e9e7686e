from __future__ import annotations

import pytest

from orchestrator.names import LONGEST_IDENTIFIER, LONGEST_NAME, is_identifier, is_name, printable, suggestion


@pytest.mark.parametrize("text", ["resnet50", "vit_b_16", "gpt-2", "a.b", "_x", "7b", "a" * LONGEST_NAME])
def test_these_are_names(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize(
    "text", ["", ".", "..", ".hidden", "-x", "a/b", "../a", "/a", "a b", "a\n", "a\0", "é", "a=b", "a" * (LONGEST_NAME + 1)]
)
def test_these_are_no_names(text: str) -> None:
    assert not is_name(text)


def test_an_identifier_may_hold_keys_and_be_longer_than_a_name() -> None:
    assert is_identifier("a-exporter.optimize=true" + "x" * LONGEST_NAME)
    assert not is_identifier("a" * (LONGEST_IDENTIFIER + 1))
    assert not is_identifier("../a=b")


@pytest.mark.parametrize("text", ["k=a/b", "k=../..", "k=[1, 2]", "k=é", "k=a\nb"])
def test_what_is_made_printable_can_end_an_identifier(text: str) -> None:
    assert is_identifier(f"model-{printable(text)}")


def test_a_suggestion_names_what_is_near_and_all_there_is() -> None:
    assert suggestion("resnet5", ["vit", "resnet50"]) == "; did you mean resnet50? There are: resnet50, vit"


def test_a_suggestion_without_anything_near_still_names_all() -> None:
    assert suggestion("zzz", ["vit", "resnet50"]) == "; there are: resnet50, vit"
