from __future__ import annotations

import dataclasses

import msgspec
import pytest

from orchestrator import spec
from orchestrator.spec import Plan, UnitTask
from tests import synthetic

PLAN = synthetic.plan(synthetic.unit(opsets=(18, 20), targets=(synthetic.CPU, synthetic.CUDA)), synthetic.unit("lstm"))


def test_a_plan_is_the_same_after_a_way_through_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(PLAN), type=Plan) == PLAN


def test_a_task_is_the_same_after_a_way_through_json() -> None:
    task = UnitTask(unit=PLAN.units[0], store="/store", trust=("mine.*",), threads=2, done=("a",))
    assert msgspec.json.decode(msgspec.json.encode(task), type=UnitTask) == task


def test_the_cells_of_a_plan_are_those_of_its_units_in_order() -> None:
    assert [cell.id for cell in PLAN.cells] == [cell.id for unit in PLAN.units for cell in unit.cells]
    assert len(PLAN.cells) == 5


@pytest.mark.parametrize("kind", [kind for kind in vars(spec).values() if dataclasses.is_dataclass(kind)])
def test_specs_are_frozen_and_take_keywords_only(kind: type) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert all(field.kw_only for field in dataclasses.fields(kind))
