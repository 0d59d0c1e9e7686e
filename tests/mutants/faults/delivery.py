"""Files that are not those that were written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial

import onnx_ir as ir

from tests.mutants import subjects
from tests.mutants.work import Fault, Place, Work

CHECK = "delivery"


def _bit_flip(work: Work) -> Iterator[Place]:
    if work.data:
        yield Place(where="a bit of the data", damage=partial(_flip, work))
        yield Place(where="another bit of the data", damage=partial(_flip, work))


def _flip(work: Work) -> None:
    assert work.data
    data = bytearray(work.data.read_bytes())
    data[work.random.randrange(len(data))] ^= 1 << work.random.randrange(8)
    work.data.write_bytes(data)
    work.touched = False


def _external(work: Work) -> Iterator[tuple[ir.Value, ir.ExternalTensor]]:
    for value in work.initializers():
        if isinstance(value.const_value, ir.ExternalTensor):
            yield value, value.const_value


def _moved(work: Work) -> Iterator[Place]:
    for value, held in _external(work):
        yield Place(where=str(value.name), damage=partial(_refer, work, value, held.location, 4))


def _refer(work: Work, value: ir.Value, location: str, shift: int) -> None:
    held = value.const_value
    assert isinstance(held, ir.ExternalTensor)
    value.const_value = ir.ExternalTensor(
        location,
        (held.offset or 0) + shift,
        held.length,
        held.dtype,
        shape=held.shape,
        name=held.name or "",
        base_dir=work.folder,
    )


def _truncated(work: Work) -> Iterator[Place]:
    if work.data:
        yield Place(where="the end of the data", damage=partial(_cut, work))


def _cut(work: Work) -> None:
    assert work.data
    data = work.data.read_bytes()
    work.data.write_bytes(data[: work.random.randrange(1, len(data))])
    work.touched = False


def _others_data(work: Work) -> Iterator[Place]:
    if work.data and _has_a_seed(work):
        yield Place(where="the data of another seed", damage=partial(_replace, work, graph=False))


def _stale(work: Work) -> Iterator[Place]:
    if _has_a_seed(work):
        yield Place(where="all files of another seed", damage=partial(_replace, work, graph=True))


def _has_a_seed(work: Work) -> bool:
    """Trained weights and none at all are the same for every seed."""
    return not work.subject.declared.trained and any(True for _ in work.candidate.module.parameters())


def _replace(work: Work, *, graph: bool) -> None:
    """By what the same exporter makes of the same model with other weights."""
    other = work.folder / "other"
    other.mkdir()
    elsewhere = subjects.of_seed(work.subject, work.subject.seed + 1)
    (emission,) = subjects.emissions(elsewhere, subjects.module_of(elsewhere), other, [work.subject.opset])
    files = [file.name for file in work.candidate.artifact.files]
    for source, name in list(zip(emission.files, files, strict=True))[0 if graph else 1 :]:
        shutil.copyfile(other / source, work.folder / name)
    if graph and work.data:
        # Its graph calls its data by another name.
        model = ir.load(other / emission.files[0])
        for value in model.graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                _refer(work, value, work.data.name, 0)
        work.candidate.path.write_bytes(ir.to_proto(model).SerializeToString(deterministic=True))
    work.touched = False


def _escaped(work: Work) -> Iterator[Place]:
    for value, held in _external(work):
        yield Place(where=f"{value.name} in the folder above", damage=partial(_escape, work, value, f"../{held.location}"))
        yield Place(
            where=f"{value.name} by an absolute path",
            damage=partial(_escape, work, value, str(work.folder.parent / held.location)),
        )


def _escape(work: Work, value: ir.Value, location: str) -> None:
    assert work.data
    shutil.copyfile(work.data, work.folder.parent / work.data.name)
    _refer(work, value, location, 0)


FAULTS = (
    Fault(name="bit flip in the data", check=CHECK, places=_bit_flip, stale=True),
    Fault(name="offset shifted", check=CHECK, places=_moved, stale=True),
    Fault(name="data truncated", check=CHECK, places=_truncated, stale=True),
    Fault(name="data of another model", check=CHECK, places=_others_data, stale=True),
    Fault(name="path escapes", check=CHECK, places=_escaped),
    Fault(name="stale artifact of another seed", check=CHECK, places=_stale, stale=True),
)
