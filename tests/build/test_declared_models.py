"""Every model in conf/model builds, answers as declared, and answers so that a mistake in an artifact would be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.build.module import build
from orchestrator.spec import VerifyLevel, VerifySpec
from orchestrator.verify import reference
from orchestrator.verify.compare import relative_error
from tests.declared import NAMES, declared

SLOW_ONES = ("bert_base", "convnext_tiny", "gpt2", "vit_b_16", "whisper_tiny")
"""Each takes some seconds; they are for `make test-all`."""
QUICK = VerifySpec(level=VerifyLevel.QUICK, seed=0, k=8)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW_ONES else []) for name in NAMES])
def test_a_declared_model_is_a_reference_that_tells_right_from_wrong(name: str) -> None:
    model = declared(name)
    found = reference.compute(build(model, "float32", (), Path("no store is needed")).module, model, "float32", QUICK)
    assert found.vacuous == {}
    assert found.findings == ()
    for probe in found.probes:
        assert probe.exact is not None
        for output, exact in zip(probe.outputs, probe.exact, strict=True):
            assert 1e-3 < np.sqrt(np.mean(exact**2)) < 1e3
            assert relative_error(output, exact) < 1e-5
    answer = found.example.outputs[0]
    spread = np.std(answer - answer.mean(axis=0)) / np.sqrt(np.mean(answer**2))
    assert spread > 1e-3, "two inputs of one batch are answered alike"


def test_a_case_reaches_the_other_side_of_the_branch() -> None:
    model = declared("early_exit")
    [case] = model.cases
    module = build(model, "float32", (), Path("no store is needed")).module
    probes = {probe.name: probe for probe in reference.compute(module, model, "float32", QUICK).probes}
    loud, quiet = (np.abs(probes[name].inputs["signal"]).mean() for name in ("example", f"case {case.name}"))
    assert loud > module.threshold > quiet
