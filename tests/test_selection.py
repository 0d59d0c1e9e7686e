from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.plan import identifier
from orchestrator.report.summary import CellReport, summarise
from orchestrator.selection import select
from orchestrator.spec import RunSpec, Selection
from tests import synthetic
from tests.commands.test_run import spec

BERT, GPT, RESNET = (f"{name}-dynamo-opset20-float32-cpu" for name in ("bert", "gpt", "resnet"))


def wished(selection: Selection) -> RunSpec:
    return replace(spec(Path("/nowhere"), "bert", "gpt", "resnet"), selection=selection)


def chosen(newest: Mapping[str, CellReport] | None = None, **selection: object) -> list[str]:
    return [identifier(request) for request in select(wished(Selection(**selection)), newest).requests]


def refused(newest: Mapping[str, CellReport] | None = None, **selection: object) -> list[str]:
    with pytest.raises(UserError) as caught:
        chosen(newest, **selection)
    return list(caught.value.problems)


@pytest.fixture(scope="module")
def newest() -> Mapping[str, CellReport]:
    """A run with every status."""
    return {cell.id: cell for cell in summarise(*synthetic.every_status()).cells}


def test_without_a_selection_all_are_wanted() -> None:
    assert chosen() == [BERT, GPT, RESNET]


def test_patterns_choose_and_leave_out() -> None:
    assert chosen(select=("*bert*", "gpt-*")) == [BERT, GPT]
    assert chosen(skip=("*bert*",)) == [GPT, RESNET]
    assert chosen(select=("*t-*",), skip=("gpt*",)) == [BERT, RESNET]


def test_the_newest_run_chooses(newest: Mapping[str, CellReport]) -> None:
    known = {BERT: newest["vit_b_16-dynamo-opset20-float32-cpu"], GPT: newest["early_exit-torchscript-opset20-float32-cpu"]}
    assert (known[BERT].expected, known[GPT].expected) == (False, True)
    assert chosen(known, only="failed") == [BERT]
    assert chosen(known, only="not_passed") == [BERT, GPT]
    assert chosen(known, only="export_failed") == [BERT, GPT]


def test_a_pattern_that_selects_nothing_is_refused_and_one_that_skips_nothing_is_odd() -> None:
    assert refused(select=("*brt*", "*bert*")) == [
        f"select: '*brt*' matches none of the 3 cells; they are called as {BERT}"
    ]  # fmt: skip
    assert select(wished(Selection(skip=("*brt*",))), None).warnings == ("skip: '*brt*' matches no cell",)


def test_a_selection_that_leaves_nothing_is_refused(newest: Mapping[str, CellReport]) -> None:
    assert refused(select=("bert*",), skip=("*",)) == ["select=[bert*] skip=[*]: leaves none of the 3 cells"]
    assert refused(newest, only="timeout") == ["only=timeout: leaves none of the 3 cells"]
    assert refused(only="failed") == ["only=failed: there is no earlier run in /nowhere/runs"]
