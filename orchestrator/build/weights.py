"""Weights of a module: drawn from a seed by a stated recipe, or read from a file whose digest was checked first.

The functions from `draw_weights` on need nothing but torch and safetensors: a repro script carries copies of them. Not covered:
files that hold code (pickled modules, TorchScript archives); torch.load refuses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch

from orchestrator.build import sources
from orchestrator.build.download import fetched
from orchestrator.digest import digest_of
from orchestrator.spec import WeightsSpec

DOWNLOADS = "downloads"
"""Folder of the store for weights that came from an address."""

CONVOLUTIONS = (
    torch.nn.Conv1d,
    torch.nn.Conv2d,
    torch.nn.Conv3d,
    torch.nn.ConvTranspose1d,
    torch.nn.ConvTranspose2d,
    torch.nn.ConvTranspose3d,
)


class WeightsError(Exception):
    """The file is not the declared one, or it does not fit the module."""


def fill(module: torch.nn.Module, spec: WeightsSpec, store: Path) -> None:
    """Gives a freshly built module its declared weights.

    Args:
        module: In float32.
        spec: Where they come from.
        store: Root of the store; what is downloaded is kept below it.

    Raises:
        WeightsError: The file is not the declared one, or it does not fit the module.
        DownloadError: The address gave nothing, or other bytes.
        OSError: The file cannot be read.
    """
    if spec.seed is not None:
        draw_weights(module, spec.seed)
        return
    path = locate(spec, store)
    if spec.sha256 is not None:
        check_digest(path, spec.sha256)
    load_state(module, read_state(path, spec.key), spec.prefix, spec.strict)


def locate(spec: WeightsSpec, store: Path) -> Path:
    """Where the weights file lies, fetched if need be; a file of a package is found without importing the package."""
    if spec.url is not None:
        assert spec.sha256 is not None, "an address has a digest"
        return fetched(spec.url, spec.sha256, store / DOWNLOADS)
    assert spec.file is not None, "a seed has no file"
    if spec.package is None:
        return Path(spec.file)
    folder = sources.folder_of(spec.package)
    if folder is None:
        raise WeightsError(f"the package {spec.package} is not installed")
    return folder / spec.file


def draw_weights(module: torch.nn.Module, seed: int) -> None:
    """Draws what a factory's own initialisation leaves too plain to prove anything on.

    Freshly built models answer zeros (vit_b_16: its head starts at zero), the same for every input (mobilenet_v3_small: the
    signal is lost on the way), or hide mistakes (a BatchNorm of mean 0 and deviation 1 can be left out unseen). The recipe,
    with one generator of the seed, over all modules and then all parameters in the order in which they were registered:

    1. A convolution's kernel: normal, variance 2 / fan-in (He et al. 2015), which keeps the signal's size through any depth.
    2. A normalisation with running statistics: mean N(0, 0.1), variance U(0.5, 1.5), weight 0.92 U(0.5, 1.5), bias N(0, 0.1).
       With 0.92 E[weight^2] E[1 / variance] is 1. N is given with its deviation.
    3. Any other floating parameter with all elements equal: a constant c becomes max(|c|, 0.1) U(0.5, 1.5) with the sign of c,
       a zero matrix normal with variance 1 / (elements per row), a zero vector N(0, 0.1).

    Everything else stays as the factory drew it.

    Args:
        module: As its factory left it, in float32.
        seed: Of the generator; the factory itself ran under torch.manual_seed with the same number.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, CONVOLUTIONS):
                torch.nn.init.kaiming_normal_(part.weight, generator=generator)
            elif isinstance(getattr(part, "running_var", None), torch.Tensor):
                draw_normalisation(part, generator)
        for parameter in module.parameters():
            if parameter.numel() and parameter.is_floating_point() and bool((parameter == parameter.flatten()[0]).all()):
                parameter.copy_(varied(parameter, generator))


def draw_normalisation(part: torch.nn.Module, generator: torch.Generator) -> None:
    """Step 2 of the recipe of `draw_weights`; weight and bias are missing where affine is off."""
    for name, centre, spread in (("running_mean", 0.0, 0.1), ("bias", 0.0, 0.1)):
        tensor = getattr(part, name, None)
        if tensor is not None:
            tensor.normal_(centre, spread, generator=generator)
    for name, scale in (("running_var", 1.0), ("weight", 0.92)):
        tensor = getattr(part, name, None)
        if tensor is not None:
            tensor.uniform_(0.5 * scale, 1.5 * scale, generator=generator)


def varied(constant: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Step 3 of the recipe of `draw_weights`: new values for a tensor whose elements are all equal."""
    value = float(constant.flatten()[0])
    new = torch.empty_like(constant)
    if value != 0:
        size = max(abs(value), 0.1)
        return new.uniform_(0.5 * size, 1.5 * size, generator=generator) * (1 if value > 0 else -1)
    deviation = (constant.shape[0] / constant.numel()) ** 0.5 if constant.ndim > 1 else 0.1
    return new.normal_(0.0, deviation, generator=generator)


def check_digest(path: Path, sha256: str) -> None:
    """Refuses a file with another SHA-256 than the declared one."""
    if (found := digest_of(path)) != sha256.lower():
        raise WeightsError(f"{path.name} has the SHA-256 {found}, not the declared {sha256}")


def read_state(path: Path, key: str | None) -> Mapping[str, torch.Tensor]:
    """Reads a state dict: a .safetensors file, or what torch.load reads with weights_only.

    Args:
        path: The file.
        key: The entry that holds the state dict, for a checkpoint that holds more.

    Raises:
        WeightsError: There is no state dict in it, or not under that key.
    """
    is_safe = path.suffix == ".safetensors"
    content = safetensors.torch.load_file(path) if is_safe else torch.load(path, map_location="cpu", weights_only=True)
    if key is not None and isinstance(content, Mapping):
        content = content.get(key)
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        where = f"under the key {key!r} " if key else ""
        raise WeightsError(f"{path.name} holds no state dict {where}(weights.key names the entry that is one)")
    return content


def load_state(module: torch.nn.Module, state: Mapping[str, torch.Tensor], prefix: str, strict: bool) -> None:
    """Loads a state dict.

    A name that is tied to a loaded one needs no tensor of its own (safetensors files keep tied weights once), and a buffer that
    the module does not persist may be in the file: the module computes it itself.

    Args:
        module: The module.
        state: Tensors by name.
        prefix: Removed from the names; names without it are left out.
        strict: Every name of the module must be in the file and the other way round.

    Raises:
        WeightsError: Names are missing or left over.
        RuntimeError: A shape differs.
    """
    chosen = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    own = module.state_dict(keep_vars=True)
    loaded = {id(own[name]) for name in chosen if name in own}
    if not loaded:
        raise WeightsError(f"no name in the file, after the prefix {prefix!r}, is one of the module's")
    missing, unexpected = module.load_state_dict(chosen, strict=False)
    missing = [name for name in missing if id(own[name]) not in loaded]
    unexpected = sorted(set(unexpected) - {name for name, _ in module.named_buffers()})
    if strict and (missing or unexpected):
        raise WeightsError(f"the weights do not fit: not in the file {missing[:5]}, not in the module {unexpected[:5]}")
