from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.build.translations import OPTION, TranslationError, problems, resolve
from orchestrator.build.trust import UntrustedError
from orchestrator.result import CellResult
from orchestrator.spec import BuildSpec, UnitTask
from tests import synthetic
from tests.build import operators
from tests.declared import OPTIONS
from tests.test_unit import MODEL, results, run

OPERATOR = "torch.ops.orchestrator_tests.halved.default"
FUNCTION = "tests.build.operators.translate_halved"
TRUST = ("tests.build.operators.*",)


def table(operator: Any = OPERATOR, function: Any = FUNCTION) -> dict[str, Any]:
    return {"optimize": True, OPTION: {operator: function}}


def test_a_trusted_function_for_an_overload_has_no_problem() -> None:
    assert list(problems(table(), TRUST)) == []
    assert list(problems({"optimize": True}, ())) == list(problems({OPTION: {}}, ())) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (table(operator="torch.ops.aten.relu"), "`torch.ops.aten.relu` is no overload of an operator, such as"),
        (table(operator="aten::relu"), "`aten::relu` is no overload"),
        (table(operator=7), "`7` is no overload"),
        (table(function=None), f"{OPERATOR}: None is no dotted path of a function"),
        (table(function="os.system"), f"{OPERATOR}: `os.system` is not trusted"),
        (table(function="tests.build.operators.translate"), f"{OPERATOR}: `tests.build.operators.translate` does not exist"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(options: dict[str, Any], told: str) -> None:
    (problem,) = problems(options, TRUST)
    assert problem.startswith(told)


def test_names_become_what_torch_takes() -> None:
    options = resolve(table(), TRUST)
    assert options == {
        "optimize": True,
        OPTION: {torch.ops.orchestrator_tests.halved.default: operators.translate_halved},
    }
    assert resolve({"optimize": True}, ()) == {"optimize": True}


def test_the_object_itself_must_be_trusted() -> None:
    with pytest.raises(UntrustedError):
        resolve(table(), ())


def test_an_operator_that_nothing_registers_is_told() -> None:
    with pytest.raises(TranslationError, match=r"nothing has registered torch\.ops\.orchestrator_tests\.halved\.twice"):
        resolve(table(operator="torch.ops.orchestrator_tests.halved.twice"), TRUST)


def exported(tmp_path: Path, translations: dict[str, str]) -> CellResult:
    model = replace(MODEL, build=BuildSpec(target="tests.build.operators.Halving", arguments={}))
    options = {**OPTIONS["dynamo"], OPTION: translations}
    unit = replace(synthetic.unit("tiny", "dynamo"), model=model)
    unit = replace(unit, exporter=replace(unit.exporter, options=options))
    task = UnitTask(unit=unit, store=str(tmp_path / "store"), trust=TRUST, threads=1)
    (result,) = results(run(task, tmp_path)).values()
    return result


def test_a_model_with_an_operator_of_its_own_is_exported_and_proved(tmp_path: Path) -> None:
    result = exported(tmp_path, {OPERATOR: FUNCTION})
    assert (result.status, result.reason) == ("passed", "")
    assert result.artifact is not None
    assert "Mul" in result.artifact.op_counts


def test_without_its_translation_it_is_not(tmp_path: Path) -> None:
    result = exported(tmp_path, {})
    assert result.status == "export_failed"
    assert "orchestrator_tests.halved" in result.reason
