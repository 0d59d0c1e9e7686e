"""A module that misbehaves, for runs with the real exporters: target `tests.misbehaving.models.Misbehaving` and a `deed`."""

from __future__ import annotations

import torch

from tests.misbehaving import deeds


class Misbehaving(torch.nn.Module):
    """A small honest layer that does one of `deeds` when it is called, or already when it is built."""

    def __init__(self, deed: str, when: str = "call") -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
        self.deed = deed
        self.when = when
        if when == "build":
            getattr(deeds, deed)()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.when == "call":
            getattr(deeds, self.deed)()
        return self.layer(x)
