from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from orchestrator.result import Check, CheckStatus
from orchestrator.verify import verifier
from orchestrator.verify.base import Candidate, Verdict
from orchestrator.verify.registry import CHECKS
from orchestrator.verify.shared import Shared, key_of
from tests import synthetic
from tests.verify import samples


@pytest.fixture
def candidate(tmp_path: Path) -> Candidate:
    return samples.pair(tmp_path)


def restamped(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 21
    model.ir_version = 10


def told(name: str, status: CheckStatus = CheckStatus.PASSED) -> Verdict:
    return Verdict(check=Check(id=name, status=status, detail="", seconds=1.0))


def test_what_holds_for_the_graph_is_taken_over_as_the_other_cells(candidate: Candidate) -> None:
    shared = Shared()
    shared.remember("first", key_of(candidate), [told("shapes", CheckStatus.FAILED), told("parity")])
    (verdict,) = shared.taken_over(key_of(samples.damaged(candidate, restamped))).values()
    assert (verdict.check.id, verdict.check.status) == ("shapes", CheckStatus.FAILED)
    assert (verdict.check.shared_with, verdict.check.seconds) == ("first", 0.0)


def test_a_check_that_could_not_run_is_tried_again(candidate: Candidate) -> None:
    shared = Shared()
    shared.remember("first", key_of(candidate), [told("shapes", CheckStatus.ERROR)])
    assert shared.taken_over(key_of(candidate)) == {}


def test_another_graph_other_weights_and_another_target_share_nothing(candidate: Candidate) -> None:
    shared = Shared()
    shared.remember("first", key_of(candidate), [told("shapes")])
    graph, *data = candidate.artifact.files
    other_data = replace(candidate.artifact, files=(graph, *(replace(file, sha256="0" * 64) for file in data)))
    assert data
    assert shared.taken_over(key_of(replace(candidate, artifact=other_data))) == {}
    assert shared.taken_over(key_of(replace(candidate, target=replace(synthetic.CPU, name="elsewhere")))) == {}
    assert shared.taken_over(key_of(candidate)).keys() == {"shapes"}

    def renamed(model: onnx.ModelProto) -> None:
        model.graph.node[0].name = "another"

    assert shared.taken_over(key_of(samples.damaged(candidate, renamed))) == {}


def test_each_file_is_measured_for_itself_where_it_is_about_the_file(candidate: Candidate) -> None:
    shared = Shared()
    verifier.verify(candidate, 1, "first", shared)
    checks, _ = verifier.verify(samples.damaged(candidate, restamped), 1, "second", shared)
    found = {check.id: check for check in checks}
    assert found["structure"].status is CheckStatus.FAILED, "the candidate was asked for at opset 20"
    alone = {name for name, check in found.items() if check.shared_with is None}
    assert alone == {name for name in found if not CHECKS[name].shared} == {"delivery", "structure", "interface", "parity"}


def test_what_is_no_onnx_file_shares_nothing(candidate: Candidate) -> None:
    shared = Shared()
    candidate.path.write_bytes(b"no ONNX")
    shared.remember("first", key_of(candidate), [told("shapes")])
    assert shared.taken_over(key_of(candidate)) == {}
