from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.schedulers.places import Slot, spread, wants_gpu
from orchestrator.spec import Target
from tests.misbehaving import units


def names(slots: list[Slot]) -> list[str]:
    return [slot.name + ("" if slot.gpu is None else f" gpu{slot.gpu}") for slot in slots]


def rooms(**counts: tuple[int, int]) -> list[tuple[str, str, int, int]]:
    return [(f"id of {name}", name, slots, gpus) for name, (slots, gpus) in counts.items()]


def test_every_node_has_a_slot_before_one_has_two() -> None:
    assert names(spread(rooms(a=(1, 0), b=(3, 0)), 8, gpu_units=0, cpu_units=9)) == ["a", "b", "b", "b"]
    assert names(spread(rooms(a=(4, 0), b=(4, 0)), 3, gpu_units=0, cpu_units=9)) == ["a", "b", "a"]


def test_there_are_no_more_slots_than_units() -> None:
    assert names(spread(rooms(a=(4, 2), b=(4, 0)), 8, gpu_units=1, cpu_units=2)) == ["a gpu0", "a", "b"]


def test_units_that_need_a_gpu_have_slots_where_gpus_are_and_take_the_cpus_of_others() -> None:
    machines = rooms(a=(2, 0), b=(2, 2), c=(1, 4))
    assert names(spread(machines, 8, gpu_units=9, cpu_units=9)) == ["b gpu0", "c gpu0", "b gpu1", "a", "a"]


def test_of_few_workers_one_is_left_for_units_that_need_no_gpu() -> None:
    assert names(spread(rooms(a=(8, 8)), 3, gpu_units=9, cpu_units=9)) == ["a gpu0", "a gpu1", "a"]
    assert names(spread(rooms(a=(8, 8)), 3, gpu_units=9, cpu_units=0)) == ["a gpu0", "a gpu1", "a gpu2"]


def test_a_unit_wants_a_gpu_if_a_cell_that_it_has_to_decide_does(tmp_path: Path) -> None:
    task = units.make_task(tmp_path, "a", "b")
    cuda = Target(name="cuda", device="cuda", provider="CUDAExecutionProvider")
    mixed = replace(task, unit=replace(task.unit, cells=(task.unit.cells[0], replace(task.unit.cells[1], target=cuda))))
    assert [wants_gpu(task), wants_gpu(mixed), wants_gpu(replace(mixed, done=("b",)))] == [False, True, False]
