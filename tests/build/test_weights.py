from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from orchestrator.build import weights
from orchestrator.build.weights import WeightsError
from orchestrator.spec import WeightsSpec


class Tied(torch.nn.Module):
    """Two names for one parameter, and a buffer that is not kept."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(5, 3)
        self.head = torch.nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("positions", torch.arange(5), persistent=False)


class Plain(torch.nn.Module):
    """What factories leave behind: a zero head, unit norms, a tiny layer scale, a gate at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, groups=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.scale = torch.nn.Parameter(torch.full((8, 1, 1), 1e-6))
        self.negative = torch.nn.Parameter(torch.full((8,), -2.0))
        self.token = torch.nn.Parameter(torch.zeros(1, 1, 64))
        self.head = torch.nn.Linear(64, 100)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        self.steps = torch.nn.Parameter(torch.zeros(3, dtype=torch.int64), requires_grad=False)
        self.empty = torch.nn.Parameter(torch.zeros(0))


def drawn(seed: int) -> Plain:
    torch.manual_seed(seed)
    module = Plain()
    weights.draw_weights(module, seed)
    return module


def test_the_same_seed_draws_the_same_weights() -> None:
    first, second, other = drawn(0).state_dict(), drawn(0).state_dict(), drawn(1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_drawing_leaves_the_generator_of_the_process_alone() -> None:
    module = Plain()
    before = torch.get_rng_state()
    weights.draw_weights(module, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_floating_stays_constant_and_the_rest_stays_as_it_was() -> None:
    module = drawn(0)
    for name, tensor in module.state_dict().items():
        assert not tensor.is_floating_point() or not tensor.numel() or len(tensor.unique()) > 1, name
    assert torch.equal(module.steps, torch.zeros(3, dtype=torch.int64))


def test_the_recipe_is_as_stated() -> None:
    module = drawn(0)
    assert module.conv.weight.std().item() == pytest.approx((2 / 27) ** 0.5, rel=0.2)
    assert 0.46 <= module.norm.weight.min().item() <= module.norm.weight.max().item() <= 1.38
    assert isinstance(module.norm.running_var, torch.Tensor)
    assert 0.5 <= module.norm.running_var.min().item() <= module.norm.running_var.max().item() <= 1.5
    assert 0.05 <= module.scale.min().item() <= module.scale.max().item() <= 0.15
    assert -3.0 <= module.negative.min().item() <= module.negative.max().item() <= -1.0
    assert module.head.weight.std().item() == pytest.approx(64**-0.5, rel=0.1)
    assert module.token.std().item() == pytest.approx(64**-0.5, rel=0.4)
    assert module.head.bias.std().item() == pytest.approx(0.1, rel=0.3)


def saved(tmp_path: Path, module: torch.nn.Module, name: str, **extra: Any) -> Path:
    path = tmp_path / name
    if path.suffix == ".safetensors":
        safetensors.torch.save_file({f"model.{k}": v for k, v in module.state_dict().items()}, path)
    else:
        torch.save({"model_state_dict": {f"model.{k}": v for k, v in module.state_dict().items()}, **extra}, path)
    return path


@pytest.mark.parametrize(("name", "key"), [("w.safetensors", None), ("w.pth", "model_state_dict")])
def test_weights_come_from_a_file(tmp_path: Path, name: str, key: str | None) -> None:
    source, module = torch.nn.Linear(3, 4), torch.nn.Linear(3, 4)
    path = saved(tmp_path, source, name, epoch=3)
    digest = hashlib.sha256(path.read_bytes()).hexdigest().upper()
    weights.fill(module, WeightsSpec(file=str(path), sha256=digest, key=key, prefix="model."), tmp_path)
    assert torch.equal(module.weight, source.weight)


def test_weights_come_from_a_package_that_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "carrying_weights" / "model").mkdir(parents=True)
    (tmp_path / "carrying_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    module = torch.nn.Linear(3, 4)
    safetensors.torch.save_file(dict(module.state_dict()), tmp_path / "carrying_weights" / "model" / "w.safetensors")
    spec = WeightsSpec(package="carrying_weights", file="model/w.safetensors")
    assert weights.locate(spec, tmp_path) == tmp_path / "carrying_weights" / "model" / "w.safetensors"
    weights.fill(torch.nn.Linear(3, 4), spec, tmp_path)


def test_a_package_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no_such_package_anywhere is not installed"):
        weights.locate(WeightsSpec(package="no_such_package_anywhere", file="w.safetensors"), tmp_path)


def test_the_digest_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"no safetensors at all")
    with pytest.raises(WeightsError, match="not the declared 0000"):
        weights.fill(torch.nn.Linear(3, 4), WeightsSpec(file=str(path), sha256="0" * 64), tmp_path)


class Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    path = saved(tmp_path, torch.nn.Linear(3, 4), "w.pth", bomb=Bomb(tmp_path / "canary"))
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        weights.read_state(path, "model_state_dict")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("key", [None, "epoch", "nothing"])
def test_a_checkpoint_without_a_state_dict_in_that_place_says_where_to_look(tmp_path: Path, key: str | None) -> None:
    path = saved(tmp_path, torch.nn.Linear(3, 4), "w.pth", epoch=3)
    with pytest.raises(WeightsError, match=r"weights\.key"):
        weights.read_state(path, key)


def test_tied_names_and_buffers_that_are_not_kept_are_no_mistakes() -> None:
    source, module = Tied(), Tied()
    weights.load_state(module, {"embedding.weight": source.embedding.weight, "positions": torch.arange(5)}, "", strict=True)
    assert torch.equal(module.head.weight, source.embedding.weight)
    assert module.head.weight is module.embedding.weight


def test_names_that_do_not_match_are_told() -> None:
    state = {"weight": torch.zeros(4, 3), "wrong": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"not in the file \['bias'\], not in the module \['wrong'\]"):
        weights.load_state(torch.nn.Linear(3, 4), state, "", strict=True)
    weights.load_state(torch.nn.Linear(3, 4), state, "", strict=False)


def test_a_prefix_that_matches_nothing_is_a_mistake_even_if_not_strict() -> None:
    with pytest.raises(WeightsError, match=r"'model\.'"):
        weights.load_state(torch.nn.Linear(3, 4), {"weight": torch.zeros(4, 3)}, "model.", strict=False)


def test_a_shape_that_differs_is_told() -> None:
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        weights.load_state(torch.nn.Linear(3, 4), {"weight": torch.zeros(4, 4), "bias": torch.zeros(4)}, "", strict=True)
