"""The keys of a cell: what its artifact is made from, and what its verdict depends on. Imports no torch, Ray or model.

Not covered: what a model's code reads by itself when it runs (files, environment, network); see also `closure`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

import orchestrator
from orchestrator.build import locate, sources, translations, trust
from orchestrator.keys import surroundings
from orchestrator.keys.closure import Closures
from orchestrator.keys.digests import FileDigests, of_value
from orchestrator.keys.packages import Packages
from orchestrator.keys.semantics import EXPORTED, VERIFIED, order, picked
from orchestrator.spec import Cell, Target, Unit, WeightsSpec

SCHEMA = 1
"""Raised when a part gets another meaning, and when artifacts of older keys must not be used any more: it is the keys' salt."""
EXPORT_DEVICE = "cpu"
"""Every export happens there, whatever the target."""
CONVERSION = ("exporters", "orchestrator/build", "orchestrator/verify/probes.py")
"""Our code that makes an artifact, and the example that it is made with; an edit to a report must not export a fleet again."""
VERIFICATION = ("orchestrator/verify", "orchestrator/build")


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """What something is made from, and one digest of all of it."""

    digest: str
    """`of_value(parts)`: SHA-256, in hex, of the canonical JSON."""
    parts: Mapping[str, Any]
    """Plain JSON values, nested by topic; `explain.why` compares them."""


class Keys:
    """Computes keys for one run: files, packages, code and units are looked at once."""

    def __init__(self, trust: tuple[str, ...]) -> None:
        """Remember whom the user trusts.

        Args:
            trust: The user's own patterns; imports of a target are followed into the packages that they and `TRUSTED` name.
        """
        self._trust = trust
        self._root = Path(orchestrator.__file__).parents[1]
        self._files = FileDigests()
        self._packages = Packages()
        self._closures = Closures(self._files, self._packages)
        self._here = surroundings.here(self._packages)
        self._gpus = surroundings.gpus(Path("/"))
        self._conversion = self._files.of_sources(self._root, CONVERSION)
        self._verification = self._files.of_sources(self._root, VERIFICATION)
        self._exported: dict[int, tuple[Unit, Mapping[str, Any]]] = {}
        self._verified: dict[int, tuple[Unit, Mapping[str, Any]]] = {}

    def export_key(self, unit: Unit, cell: Cell) -> Key:
        """The key of a cell's artifact.

        Raises:
            OSError: A weights file or a source cannot be read.
        """
        if id(unit) not in self._exported:
            self._exported[id(unit)] = (unit, self._export_parts(_as_sent(unit)))
        return _key({**self._exported[id(unit)][1], "opset": cell.opset})

    def verify_key(self, unit: Unit, cell: Cell, export: Key, *, threads: int) -> Key:
        """The key of a cell's verdict.

        Args:
            unit: The cell's unit.
            cell: The cell.
            export: The cell's `export_key`; it holds the reference's recipe: the model, its weights and torch.
            threads: That ONNX Runtime and torch may use within an operator.
        """
        if id(unit) not in self._verified:
            self._verified[id(unit)] = (unit, self._verify_parts(_as_sent(unit)))
        target = {**picked(cell.target, VERIFIED), **self._processors(cell.target)}
        return _key({**self._verified[id(unit)][1], "export": export.digest, "target": target, "threads": threads})

    def answers_key(self, unit: Unit, *, threads: int) -> Key:
        """The key of what eager answers on a model's probes, which all exporters are judged against.

        Args:
            unit: One that exports the model.
            threads: That torch may use within an operator.

        Raises:
            OSError: A weights file or a source cannot be read.
        """
        if id(unit) not in self._exported:
            self._exported[id(unit)] = (unit, self._export_parts(_as_sent(unit)))
        of_the_model = {part: value for part, value in self._exported[id(unit)][1].items() if part != "exporter"}
        asked = {"level": unit.verify.level.value, "cases": picked(unit.model, VERIFIED)["cases"]}
        return _key({**of_the_model, "asked": asked, "verification": self._verification, "threads": threads})

    def _export_parts(self, unit: Unit) -> Mapping[str, Any]:
        model = picked(unit.model, EXPORTED)
        inputs, outputs = model.pop("inputs"), model.pop("outputs")
        model["build"]["order"] = list(order(unit.model.build.arguments))
        return {
            "schema": SCHEMA,
            "model": model,
            "inputs": inputs,
            "outputs": outputs,
            "example": picked(unit.verify, EXPORTED),
            "exporter": picked(unit.exporter, EXPORTED),
            "dtype": unit.dtype,
            "device": EXPORT_DEVICE,
            "code": self._code(unit),
            "weights": self._weights(unit.model.weights),
            **self._here,
        }

    def _verify_parts(self, unit: Unit) -> Mapping[str, Any]:
        model = picked(unit.model, VERIFIED)
        return {
            "schema": SCHEMA,
            "verify": picked(unit.verify, VERIFIED),
            "tolerances": model["outputs"],
            "cases": model["cases"],
            "runtime": self._packages.of_import("onnxruntime"),
            "code": {"verification": self._verification},
        }

    def _code(self, unit: Unit) -> Mapping[str, Any]:
        """Of the targets and the functions that translate operators: first-party modules, distributions; and our own part."""
        functions = (unit.exporter.options.get(translations.OPTION) or {}).values()
        modules: dict[str, str] = {}
        imported: set[str] = set()
        for path in (path for target in (*trust.targets(unit.model.build), *functions) for path in self._paths(target)):
            closure = self._closures.of(path)
            modules.update(closure.modules)
            imported |= closure.packages
        packages = self._distributions(imported)
        return {"conversion": self._conversion, "modules": _sorted(modules), "packages": _sorted(packages)}

    def _paths(self, target: str) -> Iterable[str]:
        """A target as written, and where it may be defined: in another package, say, that the first one passes on."""
        followed = {pattern.partition(".")[0] for pattern in (*trust.TRUSTED, *self._trust)}
        return (target, *(place.path for place in locate.locate(target, followed.__contains__)))

    def _distributions(self, imported: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
        """By name; the tools, which every key has, are left out."""
        own = {name: found for top in imported for name, found in self._packages.of_import(top).items()}
        layers = {name: found for each in own for name, found in self._packages.layers_of(each).items()}
        return {name: found for name, found in (layers | own).items() if name not in surroundings.TOOLS}

    def _weights(self, spec: WeightsSpec) -> Mapping[str, Any]:
        """A seed, whose recipe is in our own part of the code; or the bytes, wherever they are, and how they are read."""
        if spec.seed is not None:
            return {"seed": spec.seed}
        sha256 = spec.sha256 if spec.url is not None else self._files.of(_weights_file(spec))
        assert sha256 is not None, "an address has a digest"
        return {"sha256": sha256.lower(), "key": spec.key, "prefix": spec.prefix, "strict": spec.strict}

    def _processors(self, target: Target) -> Mapping[str, Any]:
        """A verdict of one GPU is none of another; which processor it is, an export key says."""
        return {"gpus": self._gpus} if target.device == "cuda" else {}


def _key(parts: Mapping[str, Any]) -> Key:
    return Key(digest=of_value(parts), parts=parts)


def _sorted(parts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The digest does not depend on the order, and what is told of a change should not either."""
    return dict(sorted(parts.items()))


def _as_sent(unit: Unit) -> Unit:
    """The unit as a worker gets it: JSON makes lists of tuples, text of all keys, and floats where they belong."""
    return msgspec.json.decode(msgspec.json.encode(replace(unit, cells=())), type=Unit)


def _weights_file(spec: WeightsSpec) -> Path:
    assert spec.file is not None, "neither a seed nor an address"
    if spec.package is None:
        return Path(spec.file)
    folder = sources.folder_of(spec.package)
    if folder is None:
        raise FileNotFoundError(f"the package {spec.package} is not installed")
    return folder / spec.file
