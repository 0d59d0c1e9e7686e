"""From what an ONNX file says of itself to the artifact that results and reports carry."""

from __future__ import annotations

from collections.abc import Mapping

from exporters.graph import Description
from orchestrator.result import Artifact, FileRef, ValueInfo


def described(
    description: Description,
    files: tuple[FileRef, ...],
    made_from: str,
    ranges: Mapping[str, tuple[int, int | None]] | None = None,
    weights_as_inputs: tuple[str, ...] = (),
) -> Artifact:
    """The artifact.

    Args:
        description: Of its graph.
        files: The graph first, then its external data.
        made_from: See `result.Artifact`, as for the others.
        ranges: What the exporter said of them.
        weights_as_inputs: That were asked for.
    """
    return Artifact(
        files=files,
        opset=description.opset,
        ir_version=description.ir_version,
        op_counts=description.op_counts,
        inputs=tuple(ValueInfo(name=name, dtype=dtype, shape=shape) for name, dtype, shape in description.inputs),
        outputs=tuple(ValueInfo(name=name, dtype=dtype, shape=shape) for name, dtype, shape in description.outputs),
        made_from=made_from,
        ranges=ranges,
        weights_as_inputs=weights_as_inputs,
    )
