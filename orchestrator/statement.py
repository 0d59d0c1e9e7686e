"""in-toto statements on delivered artifacts: how each was made (SLSA provenance v1), what it was proved by (test result v0.1).

A pure function of plan and ledger, so that they can be written again. Nothing is signed: each line is a Statement, which is
what a signature is to be put on.
"""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from orchestrator import layout
from orchestrator.report.summary import RunReport, delivered_graphs, outcomes, run_report
from orchestrator.result import Artifact, CellFinished, CellResult, CheckStatus, FileRef, Status
from orchestrator.spec import Cell, ClusterSpec, ModelSpec, Plan, Unit, WeightsSpec
from orchestrator.store.ledger import Record

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
PROJECT = "pkg:generic/onnx-batch-exporter"
"""Names this project, as a package URL; docs/statements.md says what is meant by the names below it."""
BUILD_TYPE = f"{PROJECT}#export/v1"
BUILDER = f"{PROJECT}#cluster"
OURSELVES = "orchestrator"
"""Key of our own version among the versions of a run."""
PYTHON = "python"
NO_INPUT = ("known_issues", "config_path", "size")
"""What of a model's declaration decides nothing about the artifact."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Proof:
    """What the cell of one target says about an artifact."""

    unit: Unit
    cell: Cell
    result: CellResult
    tested: bool
    """Its checks are about the graph that was delivered; else it ended without one, or made another."""


def statements(plan: Plan, records: Sequence[Record]) -> dict[PurePosixPath, bytes]:
    """The statements on every artifact that is delivered, as JSON Lines, by the path of the file in the run folder.

    Args:
        plan: Of the run.
        records: Its ledger; the first is a RunStarted.
    """
    run = run_report(records)
    # As each cell ended when it was done: that it stood through a resume is nothing about its artifact.
    results = {record.result.cell: record.result for record in records if isinstance(record, CellFinished)}
    graphs = delivered_graphs(plan, outcomes(records).values())
    proofs: dict[PurePosixPath, list[_Proof]] = {path: [] for path in graphs}
    for unit in plan.units:
        for cell in unit.cells:
            path = layout.graph_path(unit, cell)
            if path in graphs and (result := results.get(cell.id)):
                proofs[path].append(_proof(unit, cell, result, graphs[path]))
    return {layout.statement_path(path): _lines(plan, run, path, cast) for path, cast in proofs.items()}


def _lines(plan: Plan, run: RunReport, path: PurePosixPath, proofs: Sequence[_Proof]) -> bytes:
    maker = next(proof for proof in proofs if proof.tested and proof.result.status is Status.PASSED)
    assert maker.result.artifact, "it passed"
    subject = _subject(path, maker.result.artifact)
    made = _statement(subject, PROVENANCE, _provenance(plan.settings.cluster, run, maker, maker.result.artifact))
    proved = _statement(subject, TEST_RESULT, _test_result(proofs))
    return b"".join(msgspec.json.encode(each) + b"\n" for each in (made, proved))


def _statement(subject: list[dict[str, Any]], kind: str, predicate: dict[str, Any]) -> dict[str, Any]:
    return {"_type": STATEMENT, "subject": subject, "predicateType": kind, "predicate": predicate}


def _subject(path: PurePosixPath, artifact: Artifact) -> list[dict[str, Any]]:
    graph, *data = artifact.files
    return [_descriptor(path.name, graph), *(_descriptor(str(layout.inside(file.name)), file) for file in data)]


def _descriptor(name: str, file: FileRef) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": file.sha256}}


def _proof(unit: Unit, cell: Cell, result: CellResult, graph: str) -> _Proof:
    vote = layout.vote(result)
    return _Proof(unit=unit, cell=cell, result=result, tested=vote is not None and vote.graph == graph)


# How it was made


def _provenance(cluster: ClusterSpec, run: RunReport, maker: _Proof, artifact: Artifact) -> dict[str, Any]:
    unit, result = maker.unit, maker.result
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "model": _model(unit.model),
                "exporter": unit.exporter,
                "opset": maker.cell.opset,
                "dtype": unit.dtype,
            },
            "internalParameters": {
                "host": run.host,
                "origin": result.origin,
                "madeFrom": artifact.made_from,
                "exportKey": result.export_key,
            },
            "resolvedDependencies": [*_weights(unit.model.weights), *_tools(run.versions)],
        },
        "runDetails": {
            "builder": {"id": f"{BUILDER}/{cluster.kind}", "version": _only(run.versions, OURSELVES)},
            "metadata": {
                "invocationId": run.run_id,
                "startedOn": run.started,
                **({"finishedOn": run.finished} if run.finished else {}),
            },
            "byproducts": [_descriptor(str(layout.inside(file.name)), file) for file in result.attachments],
        },
    }


def _only(versions: Mapping[str, str], name: str) -> dict[str, str]:
    return {name: versions[name]} if name in versions else {}


def _model(model: ModelSpec) -> dict[str, Any]:
    """The declaration without what decides nothing and without folders of this machine."""
    declared: dict[str, Any] = msgspec.to_builtins(model)
    weights = declared["weights"]
    if weights["file"]:
        weights["file"] = Path(weights["file"]).name
    return {name: value for name, value in declared.items() if name not in NO_INPUT}


def _weights(weights: WeightsSpec) -> Iterator[dict[str, Any]]:
    """The file that they were read from, where the declaration has its digest."""
    if weights.sha256:
        where = {"uri": weights.url} if weights.url else {}
        yield {"name": "weights", **where, "digest": {"sha256": weights.sha256.lower()}}


def _tools(versions: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name, version in versions.items():
        if name != OURSELVES:
            kind = "generic" if name == PYTHON else "pypi"
            yield {"name": name, "uri": f"pkg:{kind}/{name}@{urllib.parse.quote(version, safe='.-_~:')}"}


# What it was proved by


def _test_result(proofs: Sequence[_Proof]) -> dict[str, Any]:
    passed = _tests(proofs, CheckStatus.PASSED)
    warned = _tests(proofs, CheckStatus.FINDING)
    failed = _tests(proofs, CheckStatus.FAILED, CheckStatus.ERROR)
    return {
        "result": "FAILED" if failed else "WARNED" if warned else "PASSED",
        "configuration": [_configuration(proof) for proof in proofs],
        "passedTests": passed,
        "warnedTests": warned,
        "failedTests": failed,
    }


def _tests(proofs: Sequence[_Proof], *wanted: CheckStatus) -> list[str]:
    """Names of the checks of all targets with these outcomes, as `cpu/parity`."""
    return [
        f"{proof.cell.target.name}/{check.id}"
        for proof in proofs
        if proof.tested
        for check in proof.result.checks
        if check.status in wanted
    ]


def _configuration(proof: _Proof) -> dict[str, Any]:
    """What a target's checks were configured with, whole, since it is no file; how its cell ended."""
    configured = msgspec.json.encode({"target": proof.cell.target, "verify": proof.unit.verify})
    return {
        "name": proof.cell.id,
        "content": base64.b64encode(configured).decode(),
        "mediaType": "application/json",
        "annotations": {"target": proof.cell.target.name, "status": proof.result.status, "tested": proof.tested},
    }
