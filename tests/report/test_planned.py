from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

from orchestrator.cache import Known
from orchestrator.report import planned, terminal
from orchestrator.spec import Plan
from tests import synthetic

UNITS = (
    replace(synthetic.unit("resnet50", opsets=(18, 20)), estimate=30.0),
    replace(synthetic.unit("lstm", "torchscript", targets=(synthetic.CPU, synthetic.CUDA), skip=None), estimate=10.0),
    synthetic.unit("unet", targets=(synthetic.CUDA,), skip="no worker has a cuda device"),
)


KNOWN = Known(
    hits=(synthetic.result("resnet50-dynamo-opset18-float32-cpu"),),
    exported={"lstm-torchscript-opset20-float32-cpu": synthetic.result("x-opset20-")},
)


def printed(plan: Plan, *warnings: str, as_json: bool = False) -> str:
    stream = io.StringIO()
    planned.show(plan, KNOWN, warnings, terminal.console_on(stream), as_json=as_json)
    return stream.getvalue()


def test_a_row_per_unit_and_the_whole() -> None:
    lines = [line.split() for line in printed(synthetic.plan(*UNITS), "odd").splitlines()]
    assert ["resnet50-dynamo-float32", "18", "20", "cpu", "2", "30.0", "s"] in lines
    assert ["lstm-torchscript-float32", "20", "cpu", "cuda", "2", "10.0", "s"] in lines
    assert " ".join(lines[-5]) == "5 cells in 3 units, about 40 s on 1 worker by earlier runs"
    assert " ".join(lines[-4]) == "1 cell will come from the cache"
    assert " ".join(lines[-3]) == "1 cell will be verified again and not exported"
    assert " ".join(lines[-2]) == "1 cell will be skipped: no worker has a cuda device"
    assert lines[-1] == ["odd"]


def test_nothing_is_guessed_where_a_unit_was_never_done() -> None:
    plan = synthetic.plan(UNITS[0], replace(UNITS[1], estimate=None))
    assert planned.summary(plan) == "4 cells in 2 units"


def test_a_script_gets_every_cell() -> None:
    found: dict[str, Any] = json.loads(printed(synthetic.plan(*UNITS), "odd", as_json=True))
    assert (found["workers"], found["estimate"], found["warnings"]) == (1, 40.0, ["odd"])
    assert found["units"][0] == {"id": "resnet50-dynamo-float32", "cells": 2, "estimate": 30.0}
    assert found["cells"][-1] == {
        "id": "unet-dynamo-opset20-float32-cuda",
        "unit": "unet-dynamo-float32",
        "model": "unet",
        "exporter": "dynamo",
        "opset": 20,
        "dtype": "float32",
        "target": "cuda",
        "skip": "no worker has a cuda device",
        "cached": False,
    }
    assert [cell["cached"] for cell in found["cells"]] == [True, False, False, False, False]
