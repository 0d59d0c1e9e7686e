from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.build.module import build, exported_specs
from orchestrator.result import CheckStatus
from orchestrator.verify import verifier
from tests.declared import EXPORTERS, FOLDER, declared
from tests.report.test_limits import PAGE, table
from tests.verify import samples

NAMES = sorted(file.stem for file in (FOLDER / "limits").glob("*.yaml"))
SAMPLE = [
    ("tensor_if", "torchscript"),
    ("value_while", "torchscript_script"),
    ("size_branch", "dynamo"),
    ("int_size", "torchscript"),
    ("left_in_training", "torchscript"),
    ("integer_division", "torchscript_script"),
    ("alias", "dynamo"),
    ("example_mask", "torchscript_script"),
]
"""Every outcome of every exporter; the others are for `make test-all`."""
REST = [(name, exporter) for name in NAMES for exporter in EXPORTERS if (name, exporter) not in SAMPLE]


def found(name: str, exporter: str, folder: Path) -> str:
    """What the page should say of a cell."""
    built = build(declared(f"limits/{name}"), "float32", (), Path("no store is needed"))
    model = replace(built.model, inputs=exported_specs(built.model))
    try:
        candidate = samples.make(folder, built.module, model, exporter)
    except Exception:
        return "refused"
    checks, _ = verifier.verify(candidate, threads=1)
    failed = [check.id for check in checks if check.status in (CheckStatus.FAILED, CheckStatus.ERROR)]
    return f"wrong: {', '.join(failed)}" if failed else "right"


def first(outcome: str) -> str:
    """The outcome with the check that says so; what others say after it may be a matter of chance where the model draws."""
    return outcome.partition(",")[0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "exporter"), [*SAMPLE, *(pytest.param(*cell, marks=pytest.mark.slow) for cell in REST)])
def test_the_page_says_what_happens(name: str, exporter: str, tmp_path: Path) -> None:
    said = table(PAGE.read_text("utf-8"))[name, exporter]
    assert first(found(name, exporter, tmp_path)) == first(said)


def test_every_model_is_on_the_page_and_wrong_somewhere_or_shows_what_is_mended_here() -> None:
    said = table(PAGE.read_text("utf-8"))
    assert {name for name, _ in said} == {*NAMES}
    harmless = {name for name in NAMES if not any(said[name, exporter].startswith("wrong") for exporter in EXPORTERS)}
    assert harmless == {"keyword_order"}


def test_no_config_hints_at_what_is_wrong() -> None:
    for name in NAMES:
        model = declared(f"limits/{name}")
        assert model.name == name
        assert (model.cases, model.known_issues) == ((), ())
