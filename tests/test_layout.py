from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from orchestrator import layout
from orchestrator.layout import Vote, elected
from orchestrator.result import Check, CheckStatus, Status
from tests import synthetic


@pytest.mark.parametrize("name", ["resnet50", "vit_b_16", "a.b-c", "resnet50,optimize=true", "a+b@c"])
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    assert layout.safe_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("/abs", "%2Fabs"),
        ("nul\0byte", "nul%00byte"),
        ("100%", "100%25"),
        ("two\nlines", "two%0Alines"),
        ("ខ្មែរ"[:1], "%E1%9E%81"),
    ],
)
def test_an_odd_name_becomes_one_harmless_component(text: str, name: str) -> None:
    assert layout.safe_name(text) == name
    assert len(PurePosixPath(name).parts) == 1


def test_long_names_are_cut_and_stay_different() -> None:
    names = {layout.safe_name("x" * 5000 + end) for end in "abc"}
    assert len(names) == 3
    assert max(map(len, names)) <= layout.LONGEST_NAME


def test_different_texts_get_different_names() -> None:
    texts = ["a/b", "a%2Fb", "a_b", "a b", ".a", "%2Ea"]
    assert len({layout.safe_name(text) for text in texts}) == len(texts)


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/../../x", "..", "a//b"])
def test_a_workers_file_name_cannot_leave_its_folder(name: str) -> None:
    path = layout.inside(name)
    assert len(path.parts) == 1
    assert path.name not in ("..", ".")


def test_only_test_data_gets_a_folder_of_its_own() -> None:
    assert layout.inside("test_data_set_0/input_0.pb") == PurePosixPath("test_data_set_0/input_0.pb")
    assert layout.inside("test_data_set_0/../../x") == PurePosixPath("test_data_set_0/%2E.%2F..%2Fx")


def test_paths_of_a_cell() -> None:
    unit = synthetic.unit(swept=(("exporter.optimize", "a/b"),), targets=(synthetic.CPU, synthetic.CUDA))
    cpu, cuda = unit.cells
    path = PurePosixPath("artifacts/resnet50,exporter.optimize=a%2Fb/float32/dynamo-opset20.onnx")
    assert layout.graph_path(unit, cpu) == layout.graph_path(unit, cuda) == path
    assert layout.cell_folder("resnet50-dynamo-opset20-float32-cpu") == PurePosixPath(
        "cells/resnet50-dynamo-opset20-float32-cpu"
    )


@pytest.mark.parametrize(("status", "name"), [(Status.CHECK_FAILED, "rejected.onnx"), (Status.UNVERIFIED, "unverified.onnx")])
def test_a_withheld_graph_is_called_what_it_is(status: Status, name: str) -> None:
    assert layout.withheld_path(synthetic.result("resnet50-dynamo-opset20-float32-cpu", status)).name == name


A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("votes", "graph"),
    [
        ([], None),
        ([Vote(A, passed=True, objects=False)], A),
        ([Vote(A, passed=False, objects=False)], None),
        ([Vote(A, passed=True, objects=False), Vote(A, passed=False, objects=False)], A),
        ([Vote(A, passed=False, objects=False), Vote(A, passed=True, objects=False)], A),
        ([Vote(A, passed=True, objects=False), Vote(A, passed=False, objects=True)], None),
        ([Vote(A, passed=False, objects=True), Vote(A, passed=True, objects=False)], None),
        ([Vote(A, passed=True, objects=False), Vote(B, passed=True, objects=False)], A),
        ([Vote(A, passed=True, objects=False), Vote(B, passed=False, objects=True)], A),
    ],
)
def test_a_graph_is_delivered_if_one_target_passed_and_none_objects(votes: list[Vote], graph: str | None) -> None:
    assert elected(votes) == graph


@pytest.mark.parametrize(
    ("check", "objects"), [("parity", False), ("runtime", False), ("structure", True), ("interface", True)]
)
def test_only_checks_that_do_not_depend_on_the_target_object(check: str, objects: bool) -> None:
    failed = Check(id=check, status=CheckStatus.FAILED, detail="no")
    result = synthetic.result("resnet50-dynamo-opset20-float32-cpu", Status.CHECK_FAILED, checks=(failed,))
    assert layout.vote(result) == Vote(A, passed=False, objects=objects)


def test_a_cell_without_an_artifact_has_no_vote() -> None:
    assert layout.vote(synthetic.result("resnet50-dynamo-opset20-float32-cpu", Status.CRASHED)) is None
