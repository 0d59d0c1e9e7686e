from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.keys.explain import why

Parts = dict[str, Any]

KEY: Parts = {
    "schema": 1,
    "model": {"build": {"target": "mypkg.net.Net", "arguments": {"depth": 2}, "order": ["depth"]}, "rename": {}},
    "inputs": [{"name": "image", "shape": ["batch", 3]}, {"name": "mask", "shape": ["batch"]}],
    "exporter": {"name": "dynamo", "options": {"optimize": True}},
    "opset": 20,
    "code": {
        "conversion": "a" * 64,
        "modules": {"mypkg.net": "a" * 64, "mypkg.old": "a" * 64},
        "packages": {"timm": {"version": "1.0", "record": "a" * 64}},
    },
    "weights": {"sha256": "0123456789abcdef" * 4},
    "tools": {"torch": {"version": "2.14.1", "record": "a" * 64, "build": "cuda 13.1"}},
    "environment": {},
}


def edit(*steps: tuple[str, Any]) -> Callable[[Parts], None]:
    """Sets values at dotted places; None removes."""

    def apply(parts: Parts) -> None:
        for place, value in steps:
            *outer, last = place.split("/")
            inner: Any = parts
            for name in outer:
                inner = inner[int(name) if isinstance(inner, list) else name]
            if value is None:
                del inner[last]
            else:
                inner[last] = value

    return apply


TOLD = {
    "torch 2.14.1 → 2.15.0, nothing else": edit(
        ("tools/torch/version", "2.15.0"), ("tools/torch/record", "b" * 64), ("tools/torch/build", "cuda 13.2")
    ),
    "build of torch cuda 13.1 → cuda 13.2, nothing else": edit(("tools/torch/build", "cuda 13.2")),
    "timm 1.0 → 1.1, nothing else": edit(("code/packages/timm/version", "1.1")),
    "record of timm aaaaaaaa → bbbbbbbb, nothing else": edit(("code/packages/timm/record", "b" * 64)),
    "code of mypkg.net changed, nothing else": edit(("code/modules/mypkg.net", "b" * 64)),
    "code of mypkg.new is new, nothing else": edit(("code/modules/mypkg.new", "b" * 64)),
    "code of mypkg.old is gone, nothing else": edit(("code/modules/mypkg.old", None)),
    "code of this project's exporters changed, nothing else": edit(("code/conversion", "b" * 64)),
    "opset 20 → 21, nothing else": edit(("opset", 21)),
    "exporter.options.optimize true → false, nothing else": edit(("exporter/options/optimize", False)),
    "model.build.arguments.depth 2 → 2.0, nothing else": edit(("model/build/arguments/depth", 2.0)),
    'inputs.mask.shape ["batch"] → ["n"], nothing else': edit(("inputs/1/shape", ["n"])),
    "weights.sha256 01234567 → aaaaaaaa, nothing else": edit(("weights/sha256", "a" * 64)),
    "environment.TIMM_FUSED_ATTN 0 is new, nothing else": edit(("environment/TIMM_FUSED_ATTN", "0")),
    f"model.build.target mypkg.net.Net → {'n' * 37}..., nothing else": edit(("model/build/target", "n" * 50)),
    "opset 20 → 21, code of mypkg.net changed, nothing else": edit(("opset", 21), ("code/modules/mypkg.net", "b" * 64)),
    "schema 1 → 2, model.build.arguments.depth 2 → 3, opset 20 → 21 and 2 more": edit(
        ("schema", 2),
        ("opset", 21),
        ("model/build/arguments/depth", 3),
        ("code/modules/x", "a" * 64),
        ("code/modules/y", "a" * 64),
    ),
}


@pytest.mark.parametrize("told", TOLD)
def test_what_changed_is_told_from_old_to_new(told: str) -> None:
    new = copy.deepcopy(KEY)
    TOLD[told](new)
    assert why(KEY, new) == told


def test_another_order_of_inputs_is_told() -> None:
    new = {**KEY, "inputs": KEY["inputs"][::-1]}
    assert why(KEY, new) == 'inputs.order ["image", "mask"] → ["mask", "image"], nothing else'


def test_what_was_never_done_is_done_for_the_first_time() -> None:
    assert why(None, KEY) == "first time"


def test_a_key_that_did_not_change_is_no_reason() -> None:
    assert why(KEY, copy.deepcopy(KEY)) == "no part of the key changed"
