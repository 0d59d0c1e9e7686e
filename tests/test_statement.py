from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pytest

from orchestrator.folder import RunFolder, rebuild
from orchestrator.result import Check, CheckStatus, FileRef, Origin, Status
from orchestrator.spec import Plan, Unit, WeightsSpec
from orchestrator.statement import PROVENANCE, TEST_RESULT, statements
from orchestrator.store.blobs import BlobStore
from orchestrator.store.ledger import Record, RunFinished, RunStatus
from tests import synthetic

jsonschema = pytest.importorskip("jsonschema")
SCHEMA = json.loads((Path(__file__).parent / "schemas" / "intoto.schema.json").read_text(encoding="utf-8"))
PATH = PurePosixPath("artifacts/resnet50/float32/dynamo-opset20.onnx.intoto.jsonl")
CPU = "resnet50-dynamo-opset20-float32-cpu"
CUDA = "resnet50-dynamo-opset20-float32-cuda"


@pytest.fixture
def unit() -> Unit:
    return synthetic.unit(targets=(synthetic.CPU, synthetic.CUDA))


def predicates(plan: Plan, records: Sequence[Record]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The predicates on the one artifact, both valid: how it was made, what it was proved by."""
    ((path, text),) = statements(plan, records).items()
    assert path == PATH
    found = {}
    for line in text.decode().splitlines():
        statement = json.loads(line)
        jsonschema.validate(statement, SCHEMA)
        found[statement["predicateType"]] = statement["predicate"]
    return found[PROVENANCE], found[TEST_RESULT]


def test_the_schema_is_one_and_refuses_what_no_statement_is() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    bare = {"_type": "https://in-toto.io/Statement/v1", "predicateType": TEST_RESULT, "predicate": {}}
    for wrong in ({}, bare, {**bare, "subject": [{"name": "no digest", "uri": "pkg:generic/a"}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)


def test_both_statements_are_about_graph_and_weights_under_their_delivered_names(unit: Unit) -> None:
    text = statements(synthetic.plan(unit), synthetic.ledger(synthetic.result(CPU)))[PATH]
    subjects = [json.loads(line)["subject"] for line in text.splitlines()]
    assert subjects[0] == subjects[1]
    assert [(each["name"], each["digest"]["sha256"][0]) for each in subjects[0]] == [
        ("dynamo-opset20.onnx", "a"),
        ("weights-bbbbbbbbbbbb.data", "b"),
    ]


def test_the_provenance_has_what_was_asked_for_and_what_it_was_made_with(unit: Unit) -> None:
    made, _ = predicates(synthetic.plan(unit), synthetic.ledger(synthetic.result(CPU)))
    asked = made["buildDefinition"]["externalParameters"]
    assert (asked["model"]["name"], asked["exporter"]["name"], asked["opset"], asked["dtype"]) == (
        "resnet50",
        "dynamo",
        20,
        "float32",
    )
    assert asked["exporter"]["options"] == {"optimize": True}
    assert made["buildDefinition"]["resolvedDependencies"] == [
        {"name": "torch", "uri": "pkg:pypi/torch@2.15.0"},
        {"name": "onnx", "uri": "pkg:pypi/onnx@1.23.2"},
    ]
    assert made["runDetails"]["builder"]["id"].endswith("#cluster/inline")
    assert made["runDetails"]["builder"]["version"] == {"orchestrator": "0.1.0"}
    assert made["runDetails"]["metadata"] == {
        "invocationId": "20260102T030405Z-abcdef",
        "startedOn": "2026-01-02T03:04:05Z",
        "finishedOn": "2026-01-02T03:07:17Z",
    }


def test_weights_are_a_dependency_by_digest_and_no_folder_of_this_machine_is_named(unit: Unit) -> None:
    weights = WeightsSpec(file="/home/someone/secret/w.safetensors", sha256="C" * 64)
    model = replace(unit.model, weights=weights, config_path="/home/someone/model/resnet50.yaml")
    plan = synthetic.plan(replace(unit, model=model))
    made, _ = predicates(plan, synthetic.ledger(synthetic.result(CPU)))
    assert made["buildDefinition"]["resolvedDependencies"][0] == {"name": "weights", "digest": {"sha256": "c" * 64}}
    assert made["buildDefinition"]["externalParameters"]["model"]["weights"]["file"] == "w.safetensors"
    assert "someone" not in json.dumps(made)


def test_weights_from_an_address_are_named_by_it(unit: Unit) -> None:
    weights = WeightsSpec(url="https://example.org/w.safetensors", sha256="c" * 64)
    plan = synthetic.plan(replace(unit, model=replace(unit.model, weights=weights)))
    made, _ = predicates(plan, synthetic.ledger(synthetic.result(CPU)))
    assert made["buildDefinition"]["resolvedDependencies"][0]["uri"] == "https://example.org/w.safetensors"


def test_a_version_with_a_build_string_stays_a_package_url(unit: Unit) -> None:
    _, *rest = synthetic.ledger(synthetic.result(CPU))
    started = msgspec.structs.replace(synthetic.started(), versions={"python": "3.11.7", "torch": "2.15.0+cpu"})
    made, _ = predicates(synthetic.plan(unit), [started, *rest])
    assert [tool["uri"] for tool in made["buildDefinition"]["resolvedDependencies"]] == [
        "pkg:generic/python@3.11.7",
        "pkg:pypi/torch@2.15.0%2Bcpu",
    ]


def test_the_test_result_lists_the_checks_of_every_target(unit: Unit) -> None:
    _, proved = predicates(synthetic.plan(unit), synthetic.ledger(synthetic.result(CPU), synthetic.result(CUDA)))
    assert proved["result"] == "PASSED"
    assert [name for name in proved["passedTests"] if "parity" in name] == ["cpu/parity", "cuda/parity"]
    assert [each["name"] for each in proved["configuration"]] == [CPU, CUDA]
    assert json.loads(base64.b64decode(proved["configuration"][1]["content"]))["target"]["provider"] == "CUDAExecutionProvider"


def test_a_target_on_which_it_fails_is_a_failed_test(unit: Unit) -> None:
    records = synthetic.ledger(synthetic.result(CPU), synthetic.result(CUDA, Status.CHECK_FAILED))
    _, proved = predicates(synthetic.plan(unit), records)
    assert (proved["result"], proved["failedTests"]) == ("FAILED", ["cuda/parity"])
    assert "cpu/parity" in proved["passedTests"]


def test_a_finding_is_a_warning_and_what_does_not_apply_is_left_out(unit: Unit) -> None:
    checks = synthetic.checks(
        shapes=Check(id="shapes", status=CheckStatus.FINDING, detail="one size only"),
        delivery=Check(id="delivery", status=CheckStatus.NOT_APPLICABLE, detail="no data"),
    )
    _, proved = predicates(synthetic.plan(unit), synthetic.ledger(synthetic.result(CPU, checks=checks)))
    assert (proved["result"], proved["warnedTests"]) == ("WARNED", ["cpu/shapes"])
    assert "delivery" not in json.dumps(proved["passedTests"])


@pytest.mark.parametrize(
    "other",
    [
        synthetic.result(CUDA, Status.SKIPPED),
        synthetic.result(CUDA, Status.CRASHED),
        synthetic.result(CUDA, artifact=synthetic.artifact(synthetic.graph("f"))),
    ],
    ids=["skipped", "crashed", "another graph"],
)
def test_a_target_that_did_not_test_this_graph_is_named_without_tests(unit: Unit, other: Any) -> None:
    _, proved = predicates(synthetic.plan(unit), synthetic.ledger(synthetic.result(CPU), other))
    assert proved["result"] == "PASSED"
    assert "cuda" not in json.dumps(proved["passedTests"])
    assert proved["configuration"][1]["annotations"] == {"target": "cuda", "status": other.status, "tested": False}


def test_what_is_not_delivered_has_none() -> None:
    plan, records = synthetic.every_status()
    paths = {path.as_posix() for path in statements(plan, records)}
    assert paths == {
        "artifacts/resnet50/float32/dynamo-opset18.onnx.intoto.jsonl",
        "artifacts/resnet50/float32/dynamo-opset20.onnx.intoto.jsonl",
        "artifacts/mobilenet_v3_small/float32/torchscript_script-opset20.onnx.intoto.jsonl",
        "artifacts/lstm/float32/dynamo-opset20.onnx.intoto.jsonl",
    }


def test_what_came_from_the_cache_says_so(unit: Unit) -> None:
    result = synthetic.result(CPU, origin=Origin.CACHE, export_key="d" * 64)
    made, _ = predicates(synthetic.plan(unit), synthetic.ledger(result))
    internal = made["buildDefinition"]["internalParameters"]
    assert (internal["origin"], internal["exportKey"]) == ("cache", "d" * 64)


def test_a_run_without_an_end_has_no_time_of_it(unit: Unit) -> None:
    records = [record for record in synthetic.ledger(synthetic.result(CPU)) if not isinstance(record, RunFinished)]
    made, _ = predicates(synthetic.plan(unit), records)
    assert "finishedOn" not in made["runDetails"]["metadata"]


def test_the_file_lies_beside_its_artifact_outside_the_checksums_and_is_rebuilt_equal(unit: Unit, tmp_path: Path) -> None:
    plan = synthetic.plan(unit, runs=str(tmp_path / "runs"), store=str(tmp_path / "store"))
    sha256, size = BlobStore(tmp_path / "store").put_bytes(b"graph")
    folder = RunFolder.create(plan, {})
    folder.start(["python"], {"torch": "2.15.0"}, {})
    artifact = synthetic.artifact(FileRef(name="model.onnx", sha256=sha256, bytes=size))
    folder.finish_cell(synthetic.result(CPU, artifact=artifact))
    folder.close(RunStatus.FINISHED)
    path = folder.path / PATH
    written = path.read_bytes()
    assert json.loads(written.splitlines()[0])["subject"][0]["digest"]["sha256"] == hashlib.sha256(b"graph").hexdigest()
    assert "intoto" not in (path.parent / "SHA256SUMS").read_text()
    path.write_bytes(b"old")
    rebuild(folder.path)
    assert path.read_bytes() == written
