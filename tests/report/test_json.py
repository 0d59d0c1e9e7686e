from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest

from orchestrator.report import json as report_json
from orchestrator.report.summary import Report, summarise
from orchestrator.result import CheckStatus, Origin, Rule, Stage, Status
from orchestrator.store.ledger import CellMeasured, RunStatus
from tests import synthetic


def valid(report: Report) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(report_json.render(report))
    validator = jsonschema.Draft202012Validator(report_json.schema(), format_checker=jsonschema.FormatChecker())
    validator.validate(document)
    return document


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(report_json.schema())


def test_a_report_with_every_status_follows_the_schema() -> None:
    document = valid(summarise(*synthetic.every_status()))
    assert {cell["status"] for cell in document["cells"]} == set(Status)


@pytest.mark.parametrize("status", RunStatus)
def test_a_report_follows_the_schema_however_the_run_ended(status: RunStatus) -> None:
    records = synthetic.ledger(end=synthetic.ended(status, 130))
    document = valid(summarise(synthetic.plan(synthetic.unit()), records if status is not RunStatus.RUNNING else records[:-1]))
    assert document["run"]["status"] == status


def test_infinity_and_nan_become_null() -> None:
    plan, records = synthetic.every_status()
    report = summarise(plan, records)
    check = dataclasses.replace(report.cells[0].checks[2], measured=math.inf, threshold=math.nan)
    cell = dataclasses.replace(report.cells[0], checks=(check,))
    document = valid(dataclasses.replace(report, cells=(cell,)))
    assert document["cells"][0]["checks"][0]["measured"] is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["schema_version"], 2),
        (["surprise"], 1),
        (["run", "status"], "done"),
        (["cells", 0, "status"], "fine"),
        (["cells", 0, "expected"], "yes"),
        (["cells", 0, "artifact", "sha256"], "abc"),
        (["cells", 0, "durations", "lunch"], 1),
    ],
)
def test_the_schema_refuses_what_is_no_report(path: list[Any], value: object) -> None:
    document = valid(summarise(*synthetic.every_status()))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, report_json.schema())


def properties(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties of an object's schema, through references, arrays and `or null`."""
    if "$ref" in node:
        return properties(definitions[node["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in node:
        return properties(node["anyOf"][0], definitions)
    return properties(node["items"], definitions) if "items" in node else node["properties"]


def dataclass_in(hint: object) -> type | None:
    """The dataclass in `X`, `X | None` or `tuple[X, ...]`."""
    return next((each for each in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(each)), None)  # type: ignore[return-value]


def check_fields(kind: type, node: Mapping[str, Any], definitions: Mapping[str, Any]) -> None:
    described = properties(node, definitions)
    assert list(described) == [field.name for field in dataclasses.fields(kind)], kind
    for name, hint in typing.get_type_hints(kind).items():
        if inner := dataclass_in(hint):
            check_fields(inner, described[name], definitions)


def test_the_schema_and_the_dataclasses_have_the_same_fields_in_the_same_order() -> None:
    schema = report_json.schema()
    check_fields(Report, schema, schema["$defs"])


def test_a_report_of_a_cell_that_was_measured_follows_the_schema() -> None:
    unit = synthetic.unit()
    records = synthetic.ledger(synthetic.result(unit.cells[0].id))
    records.insert(-1, CellMeasured(cell=unit.cells[0].id, speed=synthetic.SPEED, reason=""))
    (cell,) = valid(summarise(synthetic.plan(unit), records))["cells"]
    assert cell["speed"]["ratio"] == synthetic.SPEED.ratio


def test_the_schema_knows_every_word() -> None:
    schema = report_json.schema()
    definitions = schema["$defs"]
    assert definitions["status"]["enum"] == list(schema["properties"]["counts"]["properties"]) == list(Status)
    assert definitions["run"]["properties"]["status"]["enum"] == list(RunStatus)
    assert definitions["check"]["properties"]["status"]["enum"] == list(CheckStatus)
    assert definitions["cell"]["properties"]["origin"]["enum"] == list(Origin)
    assert definitions["error"]["properties"]["stage"]["enum"] == list(Stage)
    assert list(definitions["cell"]["properties"]["durations"]["properties"]) == [*Stage, "total"]


def test_a_report_that_was_compared_with_a_baseline_follows_the_schema() -> None:
    report = summarise(*synthetic.worse_than_accepted())
    assert report.baseline
    valid(report)
    definitions = report_json.schema()["$defs"]
    assert definitions["regression"]["properties"]["rule"]["enum"] == list(Rule)
