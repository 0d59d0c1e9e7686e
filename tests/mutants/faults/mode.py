"""Faults planted in the exporter: what it does to the model that it is given."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from tests.mutants import subjects
from tests.mutants.work import Fault, Place, Work
from tests.verify import samples

CHECK = "mode"
Deed = Callable[[torch.nn.Module], None]


def _parts(work: Work, *kinds: type[torch.nn.Module]) -> Iterator[str]:
    for name, part in work.candidate.module.named_modules():
        if isinstance(part, kinds or torch.nn.Module):
            yield name


def _left_in_training(work: Work) -> Iterator[Place]:
    for name in _parts(work):
        yield Place(where=name or "the model", damage=partial(_export_again, work, after=partial(_train, name)))


def _exported_in_training(work: Work) -> Iterator[Place]:
    """Where training makes a difference; the flag is put back."""
    for name in _parts(work, torch.nn.Dropout, torch.nn.Dropout2d, torch.nn.BatchNorm1d, torch.nn.BatchNorm2d):
        yield Place(
            where=name,
            damage=partial(_export_again, work, before=partial(_train, name), after=partial(_train, name, mode=False)),
        )


def _train(name: str, module: torch.nn.Module, *, mode: bool = True) -> None:
    module.get_submodule(name).training = mode


def _buffers(work: Work) -> Iterator[Place]:
    for name, buffer in work.candidate.module.named_buffers():
        if buffer.is_floating_point():
            yield Place(where=name, damage=partial(_export_again, work, after=partial(_move, name)))


def _move(name: str, module: torch.nn.Module) -> None:
    """As one step of training would."""
    module.get_buffer(name).mul_(0.99)


def _nothing(_: torch.nn.Module) -> None:
    pass


def _export_again(work: Work, *, before: Deed = _nothing, after: Deed) -> None:
    module = copy.deepcopy(work.candidate.module)
    folder = work.folder / "planted"
    folder.mkdir()
    before(module)
    (emission,) = subjects.emissions(work.subject, module, folder, [work.subject.opset])
    after(module)
    _take(work, module, folder, emission.files)


def _take(work: Work, module: torch.nn.Module, folder: Path, files: tuple[str, ...]) -> None:
    artifact = replace(samples.artifact(folder, files), ranges=work.candidate.artifact.ranges)
    work.candidate = replace(work.candidate, folder=folder, artifact=artifact, module=module)
    work.touched = False


FAULTS = (
    Fault(name="a submodule left in training mode", check=CHECK, places=_left_in_training),
    # Its graph says so itself, and the model is as before.
    Fault(name="a submodule exported in training mode", check="structure", places=_exported_in_training, numeric=True),
    Fault(name="a buffer changed by the export", check=CHECK, places=_buffers),
)
