from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from orchestrator.result import Finding
from orchestrator.verify import verifier
from orchestrator.verify.base import Candidate
from tests.verify import samples

MODEL = replace(samples.PAIR, inputs=samples.PAIR.inputs[1:], outputs=samples.PAIR.outputs[:1])


class Baked(torch.nn.Module):
    def forward(self, right: torch.Tensor) -> torch.Tensor:
        return right.sum(1) / int(right.shape[1])


def findings(candidate: Candidate) -> list[Finding]:
    return [finding for finding in verifier.verify(candidate, threads=1)[1] if finding.kind == "frozen"]


def test_what_a_traced_export_froze_is_a_finding_with_its_line(tmp_path: Path) -> None:
    (finding,) = findings(samples.make(tmp_path, Baked(), MODEL))
    assert finding.message.startswith(
        "a trace of batch=5 width=7 has the constant 7 where that of the example has the constant 3"
    )
    assert (finding.source or "").endswith(f"test_retrace.py:{Baked.forward.__code__.co_firstlineno + 1}")


def test_an_export_that_is_no_trace_is_not_traced_again(tmp_path: Path) -> None:
    assert findings(replace(samples.make(tmp_path, Baked(), MODEL), exporter="dynamo")) == []


def test_a_model_whose_sizes_stay_in_the_graph_has_frozen_nothing(tmp_path: Path) -> None:
    assert findings(samples.pair(tmp_path)) == []
