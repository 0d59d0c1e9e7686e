"""Small models of many kinds, whose artifacts are damaged."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.jit import is_scripting  # type: ignore[attr-defined]
from torch.nn.functional import interpolate, relu, softmax


def drawn(module: torch.nn.Module) -> torch.nn.Module:
    """Draw biases, scales and statistics, as training leaves them: not at their first values."""
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point() and tensor.ndim == 1:
                low, high = (0.5, 1.5) if name.endswith(("norm.weight", "running_var")) else (-0.3, 0.3)
                tensor.uniform_(low, high)
    return module


class Convolutional(torch.nn.Module):
    """Convolutions with norms before and after pooling, one with a stride, one that is resized."""

    def __init__(self, width: int = 8, *, groups: int = 1, slope: float = 0.01) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, width, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(width)
        self.leaky = torch.nn.LeakyReLU(slope)
        self.pool = torch.nn.AvgPool2d(3, stride=2, padding=1)
        self.pooled_norm = torch.nn.BatchNorm2d(width)
        self.second = torch.nn.Conv2d(width, width, 3, padding=1, groups=groups)
        self.wide = torch.nn.Linear(width, 3000 - 100 * width)
        self.head = torch.nn.Linear(3000 - 100 * width, 5)

    def forward(self, image: Tensor) -> Tensor:
        signal = self.pooled_norm(self.pool(self.leaky(self.norm(self.first(image)))))
        raised = interpolate(relu(self.second(signal)), scale_factor=2.0, mode="bilinear", align_corners=False)
        pixels: Tensor = (raised * raised).mean((2, 3))
        return torch.softmax(self.head(relu(self.wide(pixels))), -1)


class Strided(torch.nn.Module):
    """A residual network of fixed size: strides, a dilation, pooling that counts what it pads."""

    def __init__(self, width: int = 6, *, dilation: int = 2) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.second = torch.nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.norm = torch.nn.BatchNorm2d(width)
        self.pool = torch.nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        self.scores = torch.nn.Conv2d(width, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        signal = relu(self.first(image))
        signal = signal + relu(self.norm(self.second(signal)))
        return torch.softmax(self.scores(self.pool(signal)).flatten(2), 1)


class Recurrent(torch.nn.Module):
    """An LSTM or GRU over steps; of its answers the last one counts."""

    def __init__(self, kind: type[torch.nn.LSTM | torch.nn.GRU] = torch.nn.LSTM, hidden: int = 64) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(12)
        self.cells = kind(12, hidden, batch_first=True)
        self.square = torch.nn.Linear(hidden, hidden)
        self.head = torch.nn.Linear(hidden, 4)

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        steps, _ = self.cells(self.norm(signal))
        steps = torch.tanh(self.square(steps))
        return self.head(steps[:, -1]), steps.argmax(-1)


class Attention(torch.nn.Module):
    """Attention of several heads, in the way of torch or written out."""

    def __init__(self, width: int, heads: int, *, written_out: bool) -> None:
        super().__init__()
        self.heads, self.written_out = heads, written_out
        self.query, self.key, self.value, self.out = (torch.nn.Linear(width, width) for _ in range(4))

    def forward(self, signal: Tensor, allowed: Tensor) -> Tensor:
        batch, length, width = signal.shape
        query, key, value = (
            part(signal).view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        if self.written_out:
            scores = query @ key.transpose(2, 3) / math.sqrt(width // self.heads)
            mixed = softmax(scores.masked_fill(~allowed, -1e9), -1) @ value
        else:
            mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        answer: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return answer


class Transformer(torch.nn.Module):
    """An encoder of tokens with a mask, or a decoder that sees only what came before; its positions are learned, and sines."""

    def __init__(self, width: int = 32, *, causal: bool = False, pre_norm: bool = False, written_out: bool = True) -> None:
        super().__init__()
        self.causal, self.pre_norm = causal, pre_norm
        self.tokens = torch.nn.Embedding(512, width)
        self.positions = torch.nn.Embedding(64, width)
        # Neither parameter nor buffer: nobody carries it but the artifact.
        self.table = sines(512, width)
        self.attention = Attention(width, 4, written_out=written_out)
        self.first_norm, self.second_norm = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.inner, self.outer = torch.nn.Linear(width, 2 * width), torch.nn.Linear(2 * width, width)
        self.head = torch.nn.Linear(width, 6)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        length = ids.shape[1]
        places = torch.arange(length, device=ids.device)
        signal = self.tokens(ids) + self.positions(places) + self.table[places]
        allowed = (mask > 0)[:, None, None, :]
        if self.causal:
            allowed = allowed & (places[None, :] <= places[:, None])
        if self.pre_norm:
            signal = signal + self.attention(self.first_norm(signal), allowed)
            signal = signal + self.feed(self.second_norm(signal))
        else:
            signal = self.first_norm(signal + self.attention(signal, allowed))
            signal = self.second_norm(signal + self.feed(signal))
        return self.head(signal)

    def feed(self, signal: Tensor) -> Tensor:
        answer: Tensor = self.outer(torch.nn.functional.gelu(self.inner(signal)))
        return answer


def sines(length: int, width: int) -> Tensor:
    """Vaswani et al. 2017, section 3.5."""
    steps = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    return torch.stack([torch.sin(steps), torch.cos(steps)], -1).flatten(1)


class Matcher(torch.nn.Module):
    """Two inputs of one type; four answers: two of one type, one in float64, one of integers."""

    def __init__(self, width: int = 8, wide: int = 2200) -> None:
        super().__init__()
        self.left, self.right = torch.nn.Linear(width, wide), torch.nn.Linear(width, wide)
        self.norm = torch.nn.LayerNorm(width)

    def forward(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        scores = torch.tanh(self.left(self.norm(queries))) @ torch.tanh(self.right(keys)).transpose(1, 2)
        scaled = scores / 30
        return softmax(scaled, -1), scaled.clamp(-1, 1), (scaled * scaled).double().sum((1, 2)), scores.argmax(-1)


class Gate(torch.nn.Module):
    """Branches on its input without a word in its declaration; written so that a compiler can keep both sides."""

    def __init__(self, width: int = 16, wide: int = 1100, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold
        self.stem, self.head = torch.nn.Linear(width, wide), torch.nn.Linear(wide, width)

    def forward(self, signal: Tensor) -> Tensor:
        high = signal.sum() > self.threshold
        hidden = self.head(torch.tanh(self.stem(signal)))
        if not is_scripting():  # noqa: SIM102
            if torch.compiler.is_exporting():
                answer: Tensor = torch.cond(high, self.one, self.other, (hidden,))
                return answer
        if bool(high):
            return self.one(hidden)
        return self.other(hidden)

    def one(self, hidden: Tensor) -> Tensor:
        return hidden * 2 + 1

    def other(self, hidden: Tensor) -> Tensor:
        return torch.sigmoid(hidden) - 1


class Silence(torch.nn.Module):
    """Branches on what no drawn input has, nor any at the edges: a signal that is mostly silent."""

    def __init__(self, width: int = 16, wide: int = 1200, share: float = 0.5) -> None:
        super().__init__()
        self.share = share
        self.stem, self.head = torch.nn.Linear(width, wide), torch.nn.Linear(wide, width)

    def forward(self, signal: Tensor) -> Tensor:
        silent = (signal.abs() < 1e-9).to(signal.dtype).mean() > self.share
        hidden = self.head(torch.tanh(self.stem(signal)))
        if not is_scripting():  # noqa: SIM102
            if torch.compiler.is_exporting():
                answer: Tensor = torch.cond(silent, self.rest, self.follow, (hidden,))
                return answer
        if bool(silent):
            return self.rest(hidden)
        return self.follow(hidden)

    def rest(self, hidden: Tensor) -> Tensor:
        return hidden - 3

    def follow(self, hidden: Tensor) -> Tensor:
        return hidden * 2


class Counts(torch.nn.Module):
    """Integers only: rounding down, indices from the end."""

    def __init__(self, divisor: int = 4) -> None:
        super().__init__()
        self.divisor = divisor

    def forward(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        shares = torch.div(counts, self.divisor, rounding_mode="floor")
        return shares, counts[:, -1] - shares[:, 0]


class Buckets(torch.nn.Module):
    """Rounds down what it divides, looks it up in a table, and forgets NaN nowhere."""

    def __init__(self, width: int = 12, divisor: float = 0.7) -> None:
        super().__init__()
        self.divisor = divisor
        self.linear = torch.nn.Linear(width, 1600)
        self.norm = torch.nn.BatchNorm1d(1600)
        self.drop = torch.nn.Dropout(0.3)
        self.square = torch.nn.Linear(16, 16)
        self.other_square = torch.nn.Linear(16, 16)
        self.down = torch.nn.Linear(1600, 16)

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        low = torch.floor(signal / self.divisor)
        hidden = self.down(self.drop(self.norm(relu(self.linear(signal)))))
        mixed = self.other_square(relu(self.square(hidden)).clamp(max=4.0))
        return mixed[:, -1] + low[:, -2], low + signal[:, -1:]


class Steps(torch.nn.Module):
    """A loop over a size, that only a script keeps."""

    def __init__(self, width: int = 8, wide: int = 2100) -> None:
        super().__init__()
        self.cell = torch.nn.Linear(width, width)
        self.up, self.down = torch.nn.Linear(width, wide), torch.nn.Linear(wide, 3)

    def forward(self, signal: Tensor) -> Tensor:
        state = signal[:, 0]
        for step in range(1, signal.shape[1]):
            state = torch.tanh(self.cell(state)) + signal[:, step]
        answer: Tensor = self.down(relu(self.up(state)))
        return answer


class Patches(torch.nn.Module):
    """Cuts a sequence of vectors into heads, repeats a learned token for each row and slices by a size."""

    def __init__(self, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.token = torch.nn.Parameter(torch.randn(1, 1, width))
        self.norm = torch.nn.LayerNorm(width)
        self.mix = torch.nn.Linear(width, 1200)
        self.head = torch.nn.Linear(1200, width)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        batch, length, width = patches.shape
        rows = torch.cat([self.token.expand(batch, length, -1), patches], 2).view(batch, length * 2, width)
        mixed = self.head(torch.nn.functional.gelu(self.mix(self.norm(rows)), approximate="none"))
        places = torch.arange(length * 2, device=patches.device)
        return mixed.view(batch, 2 * length * self.heads, width // self.heads), (mixed.sum(2) * places)[:, length:].sum(1)
