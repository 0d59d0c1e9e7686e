from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from exporters.base import TensorSpec
from orchestrator.verify import intermediates
from tests.verify import samples
from tests.verify.test_parity import scaled

SIGNAL = replace(samples.PAIR, inputs=samples.PAIR.inputs[1:], outputs=samples.PAIR.outputs[:1])


class SizeBranch(torch.nn.Module):
    def forward(self, right: torch.Tensor) -> torch.Tensor:
        if right.shape[0] > 3:
            return right - right.mean()
        return right * 2


class Alias(torch.nn.Module):
    def forward(self, right: torch.Tensor) -> torch.Tensor:
        doubled = right * 2
        doubled.view(-1)[:1].add_(1)
        return doubled


class Floor(torch.nn.Module):
    def forward(self, right: torch.Tensor) -> torch.Tensor:
        return right // 3


class Flat(torch.nn.Module):
    def forward(self, right: torch.Tensor) -> torch.Tensor:
        return right.reshape(int(right.shape[0]) * int(right.shape[1])) * 2


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_changed_weight_is_located_at_the_first_node_that_uses_it(tmp_path: Path, exporter: str) -> None:
    damaged = samples.damaged(samples.make(tmp_path, samples.seeded(samples.Pair), samples.PAIR, exporter), scaled)
    found = samples.failing(damaged)
    assert "The first value that is not eager's is that of node" in found["parity"]
    assert "`scores = self.narrow(hidden)`" in found["parity"]
    assert "eager" not in found["shapes"]


def test_a_branch_on_a_size_is_located_at_its_if(tmp_path: Path) -> None:
    found = samples.failing(samples.make(tmp_path, SizeBranch(), SIGNAL))
    assert "On batch=5 width=7 eager goes another way than on the example after" in found["shapes"]
    assert (
        "in forward: `if right.shape[0] > 3:`; the first value that is not eager's is that of node /Mul (Mul)"
        in found["shapes"]
    )


def test_a_write_through_an_alias_is_located_where_it_is_written(tmp_path: Path) -> None:
    found = samples.failing(samples.make(tmp_path, Alias(), SIGNAL))["parity"]
    assert "in forward: `doubled = right * 2` before it writes in place at" in found
    assert found.endswith("in forward: `doubled.view(-1)[:1].add_(1)`")


@pytest.mark.parametrize("exporter", ["torchscript", "torchscript_script"])
def test_a_wrong_operator_is_located_though_its_node_knows_no_line(tmp_path: Path, exporter: str) -> None:
    whole = TensorSpec(name="right", shape=("batch", "width"), dtype="int64", generator="uniform", range=(-20, 20))
    found = samples.failing(samples.make(tmp_path, Floor(), replace(SIGNAL, inputs=(whole,)), exporter))["parity"]
    assert "(Div)" in found
    assert found.endswith("in forward: `return right // 3`")


def test_a_node_that_cannot_run_is_named_with_what_was_frozen(tmp_path: Path) -> None:
    found = samples.failing(samples.make(tmp_path, Flat(), SIGNAL))["shapes"]
    line = "in forward: `return right.reshape(int(right.shape[0]) * int(right.shape[1])) * 2`"
    assert "What varies with the inputs becomes a constant at" in found
    assert "it stops at node /Reshape (Reshape) of" in found
    assert found.count(line) == 2


def test_what_takes_too_much_memory_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intermediates, "LIMIT", 8)
    found = samples.failing(samples.damaged(samples.pair(tmp_path), scaled))["parity"]
    assert "The first value that is not eager's could not be located: eager's intermediate values take more than 0 MiB" in found


def test_what_fails_inside_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no")

    monkeypatch.setattr("orchestrator.verify.diagnosis.of_eager", broken)
    found = samples.failing(samples.damaged(samples.pair(tmp_path), scaled))["parity"]
    assert found.endswith("Where it departs from eager could not be located: ZeroDivisionError: no")


def test_a_vacuous_output_alone_is_not_diagnosed(tmp_path: Path) -> None:
    candidate = samples.pair(tmp_path)
    vacuous = replace(candidate.reference, vacuous={"scores": "is 0 everywhere"})
    found = samples.failing(replace(candidate, reference=vacuous))["parity"]
    assert found.endswith("`constant: true` if it is meant")
