from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from orchestrator.report.excerpt import excerpt, import_block


def test_what_a_definition_needs_comes_before_it() -> None:
    found = excerpt("orchestrator.build.adapter.Adapter")
    names = [text.splitlines()[0] for text in found.definitions]
    assert [name.split("(")[0] for name in names] == [
        "def _parts",
        "def _leaves",
        "def _at",
        "def leaves",
        "def flatten",
        "class Adapter",
    ]


def test_constants_decorators_and_definitions_of_other_modules_come_along() -> None:
    text = "\n".join(excerpt("orchestrator.build.weights.draw_weights", "orchestrator.verify.probes.draw").definitions)
    assert "CONVOLUTIONS = (" in text
    assert "@dataclass(frozen=True, kw_only=True, slots=True)\nclass TensorSpec:" in text


def test_an_excerpt_runs_by_itself(tmp_path: Path) -> None:
    found = excerpt("orchestrator.verify.compare.compare")
    source = "\n".join(["from __future__ import annotations", *found.imports, *found.definitions])
    assert "orchestrator" not in source
    (tmp_path / "excerpt.py").write_text(source, encoding="utf-8")
    compare = runpy.run_path(str(tmp_path / "excerpt.py"))["compare"]
    assert compare(np.ones(2), np.ones(2), None, k=8).problem is None


def test_two_definitions_of_one_name_are_refused() -> None:
    with pytest.raises(AssertionError, match="is also the name of something else"):
        excerpt("orchestrator.build.trust.TARGET", "tests.report.test_excerpt.TARGET")


TARGET = "another"


def test_imports_are_merged_by_module() -> None:
    statements = ["from typing import Any", "import torch", "from typing import Literal", "import a.b as c", "import torch"]
    assert import_block(statements) == "import a.b as c\nimport torch\nfrom typing import Any, Literal"
