"""A copy of a good artifact that is about to be damaged in one place, and what describes the damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import numpy as np
import onnx_ir as ir

from orchestrator.verify.base import Candidate
from tests.mutants.subjects import Subject
from tests.verify import samples


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a fault can be put."""

    where: str
    """For a person; unique for a fault and a graph."""
    damage: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A known way in which an artifact goes wrong."""

    name: str
    check: str
    """That must catch it, and name it."""
    places: Callable[[Work], Iterator[Place]]
    """Where it can be put in the graph of a work; their order depends on the graph alone."""
    numeric: bool = False
    """It changes what is computed, which may come to nothing: a mutant counts only if its answers depart."""
    stale: bool = False
    """The manifest stays as it was before the fault."""


@dataclass(kw_only=True)
class Work:
    """A mutant in the making."""

    subject: Subject
    candidate: Candidate
    """The copy: its folder is the mutant's own."""
    random: Random
    touched: bool = field(default=True)
    """The graph is to be written; a fault in the files alone sets it to False."""

    def __post_init__(self) -> None:
        self.model = ir.load(self.candidate.path)

    @property
    def folder(self) -> Path:
        """Of the mutant."""
        return self.candidate.folder

    @property
    def data(self) -> Path | None:
        """The file of external data."""
        names = [file.name for file in self.candidate.artifact.files[1:]]
        return self.folder / names[0] if names else None

    def nodes(self, *types: str) -> list[ir.Node]:
        """All nodes of these types, those of subgraphs too."""
        return [node for node in ir.traversal.RecursiveGraphIterator(self.model.graph) if node.op_type in types]

    def initializers(self) -> list[ir.Value]:
        """All initializers, those of subgraphs too."""
        return [value for graph in self.model.graphs() for value in graph.initializers.values()]

    def set_values(self, value: ir.Value, values: np.ndarray) -> None:
        """Give an initializer other values of the same type and shape, in the file that holds them."""
        held = value.const_value
        assert held is not None
        values = np.ascontiguousarray(values, held.numpy().dtype)
        if isinstance(held, ir.ExternalTensor):
            assert held.offset is not None
            path = self.folder / held.location
            held.release()
            data = bytearray(path.read_bytes())
            data[held.offset : held.offset + values.nbytes] = values.tobytes()
            path.write_bytes(data)
        else:
            value.const_value = ir.tensor(values, name=value.name)

    def initializer(self, name: str, values: np.ndarray) -> ir.Value:
        """A new initializer of the main graph."""
        value = ir.Value(name=name, const_value=ir.tensor(values, name=name))
        self.model.graph.register_initializer(value)
        return value

    def with_files(self, names: Sequence[str]) -> Candidate:
        """The candidate with these files only."""
        files = tuple(file for file in self.candidate.artifact.files if file.name in names)
        return replace(self.candidate, artifact=replace(self.candidate.artifact, files=files))

    def finish(self, fault: Fault) -> Candidate:
        """Write what was changed; the manifest fits it unless the fault is that it does not."""
        if self.touched:
            self.candidate.path.write_bytes(ir.to_proto(self.model).SerializeToString(deterministic=True))
        return self.candidate if fault.stale else remade(self.candidate)


def copied(good: Candidate, folder: Path) -> Candidate:
    """The same artifact in another, new folder."""
    folder.mkdir(parents=True)
    for file in good.artifact.files:
        shutil.copyfile(good.folder / file.name, folder / file.name)
    return replace(good, folder=folder)


def remade(candidate: Candidate) -> Candidate:
    """With a manifest that fits the files as they are."""
    found = samples.artifact(candidate.folder, [file.name for file in candidate.artifact.files])
    return replace(candidate, artifact=replace(found, ranges=candidate.artifact.ranges, made_from=candidate.artifact.made_from))


def insert_after(value: ir.Value, *nodes: ir.Node) -> None:
    """Put a chain of nodes behind a value: the first one takes it, and all that took it takes the last one's answer."""
    producer = value.producer()
    assert producer is not None
    graph = producer.graph
    assert graph is not None
    uses = list(value.uses())
    graph.insert_after(producer, nodes)
    answer = nodes[-1].outputs[0]
    for node, index in uses:
        if node not in nodes:
            node.replace_input_with(index, answer)


def constant_of(value: ir.Value | None) -> np.ndarray | None:
    """What an initializer or the answer of a Constant node holds; None for anything else."""
    if value is None:
        return None
    if value.const_value is not None:
        return value.const_value.numpy()
    producer = value.producer()
    if producer is None or producer.op_type != "Constant":
        return None
    held = ir.convenience.get_const_tensor(value)
    return None if held is None else held.numpy()
