"""Whether the artifact takes and gives what the model's declaration says: names, order, types, shapes, ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.result import ValueInfo
from orchestrator.spec import ModelSpec
from orchestrator.verify.base import Subject, Verdict, judged

FLOATING = frozenset({"float64", "float32", "float16", "bfloat16"})


def check(subject: Subject) -> Verdict:
    """The declared interface against the file, the ranges that the capture admits, and output shapes at run time."""
    artifact, model = subject.artifact, subject.model
    problems = [*_names("input", [spec.name for spec in model.inputs], artifact.inputs)]
    problems += _names("output", [output.name for output in model.outputs], artifact.outputs)
    problems += _ranges(model, subject.artifact.ranges)
    if not problems:
        problems += [*_inputs(subject), *_outputs(subject), *_baked(subject)]
    if not problems:
        problems += _at_run_time(subject)
    return judged("interface", problems, f"{len(artifact.inputs)} inputs and {len(artifact.outputs)} outputs as declared")


def _names(kind: str, declared: Sequence[str], values: Sequence[ValueInfo]) -> Iterator[str]:
    actual = [value.name for value in values]
    if actual == list(declared):
        return
    missing = [name for name in declared if name not in actual]
    extra = [name for name in actual if name not in declared]
    if missing:
        yield f"{kind} {', '.join(missing)} is not in the artifact, which has {', '.join(actual) or 'none'}"
    if extra:
        yield f"{kind} {', '.join(extra)} is in the artifact and not declared"
    if not missing and not extra:
        yield f"{kind}s come as {', '.join(actual)} instead of {', '.join(declared)}"


def _ranges(model: ModelSpec, obtained: Mapping[str, tuple[int, int | None]] | None) -> Iterator[str]:
    """A guard in the model can narrow a dimension without a word, or fix it."""
    if obtained is None:
        return
    for name, dim in model.dims.items():
        if name not in obtained:
            yield f"dimension {name} is not among those that the capture knows: {', '.join(obtained) or 'none'}"
            continue
        low, high = obtained[name]
        if low == high != dim.max:
            yield f"dimension {name} is baked in as {low}, asked for {dim.min} to {dim.max or 'any size'}"
        elif low > dim.min or (high is not None and (dim.max is None or high < dim.max)):
            asked = f"asked for {dim.min} to {dim.max or 'any size'}"
            yield f"dimension {name} is narrowed to {low} to {high or 'any size'}, {asked}"


def _inputs(subject: Subject) -> Iterator[str]:
    for spec, value in zip(subject.model.inputs, subject.artifact.inputs, strict=True):
        expected = subject.dtype if spec.dtype in FLOATING else spec.dtype
        if value.dtype != expected:
            yield f"input {spec.name} is {value.dtype} instead of {expected}"
        if value.shape != spec.shape:
            yield f"input {spec.name} has shape {_shape(value.shape)} instead of {_shape(spec.shape)}"


def _outputs(subject: Subject) -> Iterator[str]:
    """Dtype and rank as eager gives them."""
    for value, eager in zip(subject.artifact.outputs, subject.reference.example.outputs, strict=True):
        if value.dtype != eager.dtype.name:
            yield f"output {value.name} is {value.dtype} instead of {eager.dtype.name}"
        if len(value.shape) != eager.ndim:
            yield f"output {value.name} has rank {len(value.shape)} instead of {eager.ndim}"


def _at_run_time(subject: Subject) -> Iterator[str]:
    """A static dimension holds, a symbol means the size of that name; the example's sizes cannot be mistaken for others."""
    example = subject.reference.example
    for value, answer in zip(subject.artifact.outputs, subject.answer(example), strict=True):
        for axis, (declared, actual) in enumerate(zip(value.shape, answer.shape, strict=False)):
            expected = example.sizes.get(declared) if isinstance(declared, str) else declared
            if expected is not None and expected != actual:
                yield f"output {value.name} declares {declared} on axis {axis} and answers with {actual}"


def _baked(subject: Subject) -> Iterator[str]:
    """An output axis that changes with the inputs' sizes in eager must not be a number in the file."""
    for index, value in enumerate(subject.artifact.outputs):
        for axis, declared in enumerate(value.shape):
            sizes = {
                p.outputs[index].shape[axis] for p in subject.reference.probes if p.outputs[index].ndim == len(value.shape)
            }
            if isinstance(declared, int) and len(sizes) > 1:
                told = f"output {value.name} has {declared} on axis {axis} baked in, the model answers with {sorted(sizes)}"
                yield told + _computed_at(subject, value.name)


def _computed_at(subject: Subject, output: str) -> str:
    """The model's source line that gives an output, where the exporter told it."""
    places = (subject.sources.get(node.name) for node in subject.proto.graph.node if output in node.output)
    return "".join(f"; it comes from {place}" for place in places if place)


def _shape(shape: Sequence[int | str | None]) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
