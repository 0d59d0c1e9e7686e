from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from exporters.base import Dim, TensorSpec
from orchestrator.build.exportable import Declaration, DeclarationError, declaration


@pytest.fixture(autouse=True)
def factories(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import factories_of_models  # type: ignore[import-not-found]

    yield factories_of_models
    del sys.modules["factories_of_models"]


def test_names_shapes_and_the_range_of_the_example_are_taken_over(factories: Any) -> None:
    shape = ("batch", "sequence")
    assert declaration(factories.Exportable(), {}) == Declaration(
        inputs=(
            TensorSpec(name="ids", shape=shape, dtype="int64", generator="uniform", range=(0.0, 11.0)),
            TensorSpec(name="weight", shape=("batch", 4), dtype="float32", generator="normal"),
            TensorSpec(name="mask", shape=shape, dtype="bool", generator="uniform", range=(0.0, 2.0)),
        ),
        keywords=("keep",),
        dims={"batch": Dim(name="batch", min=1, max=8), "sequence": Dim(name="sequence", min=1, max=None)},
        outputs=(),
    )


def test_what_is_left_out_is_static_and_named_after_the_parameters(factories: Any) -> None:
    own = declaration(factories.bare(), {})
    assert own.inputs == (TensorSpec(name="x", shape=(1, 2), dtype="float32", generator="uniform", range=(0.5, 2.0)),)
    assert (own.keywords, own.dims, own.outputs) == ((), {}, ())


def test_shapes_may_come_in_the_order_of_the_arguments_with_names_as_text(factories: Any) -> None:
    own = declaration(factories.Exportable(shapes=({0: "b"}, None, ("b", torch.export.Dim.STATIC))), {})
    assert [spec.shape for spec in own.inputs] == [("b", 3), (2, 4), ("b", 3)]
    assert own.dims == {"b": Dim(name="b", min=1, max=None)}


def test_the_file_may_replace_the_range_of_a_dimension(factories: Any) -> None:
    longer = Dim(name="sequence", min=2, max=64)
    assert declaration(factories.Exportable(), {"sequence": longer}).dims["sequence"] == longer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shapes": {"tokens": {0: torch.export.Dim.AUTO}}}, "tokens, axis 0 is dynamic as"),
        ({"shapes": {"tokens": {0: 2 * torch.export.Dim("half")}}}, "tokens, axis 0 is dynamic as"),
        ({"names": ["ids"]}, "gives 1 names for 3 inputs"),
        ({"example": 2.5}, "the example of weight is a float"),
    ],
)
def test_what_cannot_be_declared_is_refused(factories: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declaration(factories.Exportable(**arguments), {})


def test_a_dimension_that_the_module_does_not_use_is_refused(factories: Any) -> None:
    with pytest.raises(DeclarationError, match=r"dims\.width is declared"):
        declaration(factories.Exportable(), {"width": Dim(name="width", min=1, max=2)})


def test_any_other_module_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"is a Linear and no torch\.onnx\.ExportableModule"):
        declaration(torch.nn.Linear(2, 2), {})
