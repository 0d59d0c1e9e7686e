from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from exporters.base import Example, TensorSpec

SPECS = (
    TensorSpec(name="image", shape=("batch", 3), dtype="float32"),
    TensorSpec(name="mask", shape=("batch",), dtype="bool", keyword=True),
)


def test_an_example_is_called_with_positional_and_keyword_arguments() -> None:
    image, mask = torch.zeros(2, 3), torch.ones(2, dtype=torch.bool)
    example = Example(specs=SPECS, values={"mask": mask, "image": image}, outputs=("logits",))
    assert [id(value) for value in example.args] == [id(image)]
    assert {name: id(value) for name, value in example.kwargs.items()} == {"mask": id(mask)}


def test_planning_may_import_the_contract_without_torch() -> None:
    code = "import sys, exporters.base; assert not {'torch', 'onnx', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
