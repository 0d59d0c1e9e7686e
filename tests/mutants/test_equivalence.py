"""What counts as another computation, by artifacts of a model that is small enough to know."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.mutants.equivalence import CLEAR, FLOOR, Judge
from tests.verify import samples


def change(factor: float) -> Callable[[onnx.ModelProto], None]:
    def edit(proto: onnx.ModelProto) -> None:
        tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "narrow.bias")
        values = numpy_helper.to_array(tensor).astype(np.float64) * factor
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))

    return edit


def distance(tmp_path: Path, edit: Callable[[onnx.ModelProto], None]) -> float:
    good = samples.pair(tmp_path / "good")
    shutil.copytree(good.folder, tmp_path / "bad")
    path = samples.damaged(good, edit).path.rename(tmp_path / "bad" / "damaged.onnx")
    return Judge(good=samples.pair(tmp_path / "again").path, model=good.model).distance(path)


def test_the_same_graph_is_at_no_distance(tmp_path: Path) -> None:
    assert distance(tmp_path, change(1.0)) == 0.0


@pytest.mark.parametrize(("factor", "low", "high"), [(1.1, CLEAR, 1.0), (1 + 1e-5, FLOOR, CLEAR), (1 + 2e-7, 0.0, FLOOR)])
def test_a_distance_is_that_of_the_damage(tmp_path: Path, factor: float, low: float, high: float) -> None:
    assert low < distance(tmp_path, change(factor)) <= high


def test_what_does_not_load_is_at_any_distance(tmp_path: Path) -> None:
    assert distance(tmp_path, lambda proto: proto.graph.initializer.pop()) == float("inf")


def test_the_probes_are_dense_and_none_is_the_verifiers(tmp_path: Path) -> None:
    good = samples.pair(tmp_path)
    judge = Judge(good=good.path, model=good.model)
    sizes = {tuple(values.shape for values in inputs.values()) for inputs in judge.probes}
    theirs = {tuple(values.tobytes() for values in probe.inputs.values()) for probe in good.reference.probes}
    ours = {tuple(values.tobytes() for values in inputs.values()) for inputs in judge.probes}
    assert len(sizes) > 3
    assert len(ours) > 15
    assert ours.isdisjoint(theirs)
