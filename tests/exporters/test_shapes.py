from __future__ import annotations

import pytest
import torch
from torch import Tensor

from exporters import shapes
from exporters.base import Dim
from tests.exporters.samples import example, spec

DIMS = {
    "batch": Dim(name="batch", min=1, max=16),
    "length": Dim(name="length", min=2, max=None),
    "fixed": Dim(name="fixed", min=4, max=4),
}


def forward(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return x + y + z


def variadic(x: Tensor, *others: Tensor, **named: Tensor) -> Tensor:
    return x + sum(others) + sum(named.values())


def inputs(*specs: shapes.TensorSpec) -> shapes.Example:
    return example(*specs, sizes={"batch": 3, "length": 5, "fixed": 4})


X, Y, Z = (spec(name, "batch", keyword=name != "x") for name in "xyz")


def test_inputs_are_bound_to_parameters_in_the_order_of_the_signature() -> None:
    assert list(shapes.bound(forward, inputs(X, Z, Y)).items()) == [("x", X), ("y", Y), ("z", Z)]
    assert shapes.in_signature_order(forward, inputs(X, Z, Y)) == (X, Y, Z)


def test_variadic_parameters_hold_a_tuple_and_a_dict() -> None:
    first, second = spec("first", "batch"), spec("second", 3)
    assert shapes.bound(variadic, inputs(first, second, Z, Y)) == {"x": first, "others": (second,), "named": {"z": Z, "y": Y}}
    assert shapes.in_signature_order(variadic, inputs(first, second, Z, Y)) == (first, second, Z, Y)


def test_an_input_that_forward_does_not_take_is_an_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'w'"):
        shapes.bound(forward, inputs(X, Y, Z, spec("w", "batch", keyword=True)))


def test_one_table_gives_torch_export_its_dimensions() -> None:
    x, y, z = spec("x", "batch", "length", 3), spec("y", "fixed", "batch"), spec("z", 7)
    found = shapes.dynamic_shapes(forward, inputs(x, y, z), DIMS)
    assert {name: {axis: dim.__name__ for axis, dim in axes.items()} for name, axes in found.items()} == {
        "x": {0: "batch", 1: "length"},
        "y": {1: "batch"},
        "z": {},
    }
    assert found["x"][0] is found["y"][1]
    assert (found["x"][0].min, found["x"][0].max) == (1, 16)


def test_one_table_gives_torchscript_its_names() -> None:
    specs = [spec("x", "batch", "length", 3), spec("y", "fixed", "batch"), spec("z", 7)]
    assert shapes.dynamic_axes(specs, DIMS) == {"x": {0: "batch", 1: "length"}, "y": {1: "batch"}}


class Shifted(torch.nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x[1:] + y


def program(module: torch.nn.Module, sizes: tuple[int, ...], dims: tuple[object, ...]) -> torch.export.ExportedProgram:
    return torch.export.export(module, tuple(map(torch.zeros, sizes)), dynamic_shapes=tuple({0: dim} for dim in dims))


def test_a_size_that_is_computed_from_another_has_the_range_of_the_computation() -> None:
    batch = torch.export.Dim("batch", min=2, max=9)
    captured = program(Shifted(), (5, 4), (batch + 1, batch))
    assert shapes.obtained_ranges(captured, (spec("x", "a"), spec("y", "b"))) == {"a": (3, 10), "b": (2, 9)}


def test_of_axes_of_one_name_the_narrowest_range_counts() -> None:
    batch = torch.export.Dim("batch", min=2, max=9)
    captured = program(Shifted(), (5, 4), (batch + 1, batch))
    assert shapes.obtained_ranges(captured, (spec("x", "batch"), spec("y", "batch"))) == {"batch": (3, 9)}


def test_no_upper_limit_is_none_and_a_baked_size_is_its_own_range() -> None:
    captured = program(torch.nn.ReLU(), (3,), (torch.export.Dim("batch", min=1),))
    assert shapes.obtained_ranges(captured, (spec("x", "batch"),)) == {"batch": (1, None)}
    captured = torch.export.export(torch.nn.ReLU(), (torch.zeros(3),))
    assert shapes.obtained_ranges(captured, (spec("x", "batch"),)) == {"batch": (3, 3)}
