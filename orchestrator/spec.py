"""What a run is asked to do, as frozen values: read by `config`, grouped by `plan`, carried to the workers as JSON.

Nothing here is ever a DictConfig, a module or a session. Serialised with msgspec; field order is the order in plan.json.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from exporters.base import Dim, TensorSpec
from orchestrator.result import CellResult, Status


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSpec:
    """How a module is built."""

    target: str
    """Dotted path of a class or function, trusted or refused by `build.trust`."""
    arguments: Mapping[str, Any]
    """Keyword arguments; a mapping with a `_target_` of its own is built first, under the same trust rule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsSpec:
    """Where the weights come from: exactly one of seed, file, url."""

    seed: int | None = None
    """torch.manual_seed before the module is built: random weights, the same every time."""
    file: str | None = None
    """A .safetensors file, or one that torch.load reads with weights_only=True; absolute once loaded."""
    url: str | None = None
    """The same at an https, http or file address; sha256 is then required."""
    package: str | None = None
    """An installed distribution's import package; `file` is then relative to it."""
    sha256: str | None = None
    """Hex digest that the file must have, checked before anything is read from it."""
    key: str | None = None
    """The entry of a checkpoint that holds the state dict (`model_state_dict`)."""
    prefix: str = ""
    """Removed from the names in the file; names without it are left out."""
    strict: bool = True
    """Every name of the module must be in the file and the other way round."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputSpec:
    """One output, in flattened order."""

    name: str
    rtol: float | None = None
    atol: float | None = None
    """Set by the user, they replace the triangulated bound for this output."""
    constant: bool = False
    """The model is meant to answer the same for all inputs; without it a constant output is refused as a reference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseSpec:
    """A named set of inputs that reaches other branches of the model."""

    name: str
    inputs: tuple[TensorSpec, ...]
    """All inputs of the model, with this case's ranges and generators in place."""


class VerifyLevel(enum.StrEnum):
    """How much is proved; see docs/verification.md."""

    OFF = "off"
    QUICK = "quick"
    STANDARD = "standard"
    STRICT = "strict"


FULL = frozenset({VerifyLevel.STANDARD, VerifyLevel.STRICT})
"""The levels that prove all that is needed before an artifact is handed on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownIssue:
    """A cell that is known to end otherwise than passed."""

    cells: str
    """Pattern on cell identifiers, as in fnmatch."""
    status: Status
    reason: str
    owner: str | None = None
    expires: str | None = None
    """ISO date; from that day on the issue no longer excuses the cell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """The declaration of a model."""

    name: str
    build: BuildSpec
    weights: WeightsSpec
    mode: Literal["eval", "train"] = "eval"
    """The mode that is exported and that the reference runs in."""
    dims: Mapping[str, Dim]
    inputs: tuple[TensorSpec, ...]
    """In the order of forward: positional ones first."""
    outputs: tuple[OutputSpec, ...]
    """In flattened order; empty until the module is built if they are named after their places in its answer."""
    select: tuple[str, ...] = ()
    """Places in the answer to keep, as `hidden` or `past.0.key`, in this order; empty keeps all."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Where outputs is empty: name that an output gets from its place in the answer → the name to use instead."""
    exportable: bool = False
    """The module is a torch.onnx.ExportableModule; until it is built inputs are empty, and dims hold what overrides its own."""
    cases: tuple[CaseSpec, ...] = ()
    known_issues: tuple[KnownIssue, ...] = ()
    size: int | None = None
    """Bytes of the weights, a hint for the order of work."""
    config_path: str = ""
    """The file that declared it, for messages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExporterSpec:
    """An exporter and all its options, defaults included, after precedence: group < model < fleet < command line."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where an artifact must run."""

    name: str
    device: Literal["cpu", "cuda"]
    provider: str
    """ONNX Runtime execution provider, as in onnxruntime.get_available_providers()."""
    latency: bool = False
    """Measure time and memory beside eager, at the end of the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifySpec:
    """What is proved and how."""

    level: VerifyLevel
    seed: int
    """Of the probes."""
    k: float
    """Bound of the error: k x the eager error in the same dtype, plus the floor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a cell may use; enforced from outside its process."""

    seconds: float
    """Deadline of each stage of each cell."""
    memory: int
    """Bytes resident in the whole process tree."""
    log: int
    """Bytes of a cell's export.log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterSpec:
    """Where units run."""

    kind: Literal["local", "inline", "ray"]
    workers: int
    """Units at once; with `ray` at most as many as its nodes have slots."""
    threads_per_worker: int
    """0 until the plan knows how many units there are: `plan.share_cores`."""
    address: str | None = None
    """host:port of the cluster that exists, for `ray`."""
    allow_no_token: bool = False
    """Use a cluster on another machine although there is no token that it asks for: whoever reaches it can run code there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One point of the matrix; it has one verdict."""

    id: str
    """`resnet50-dynamo-opset20-float32-cpu`, other swept keys appended as `-key=value`."""
    opset: int
    target: Target
    swept: tuple[tuple[str, str], ...] = ()
    """Swept keys that are no axis."""
    skip: str | None = None
    """Why the plan does not run it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """Cells of one capture, that go to one worker in one piece."""

    id: str
    """`resnet50-dynamo-float32`, what its cells' identifiers have in common."""
    model: ModelSpec
    exporter: ExporterSpec
    dtype: str
    verify: VerifySpec
    limits: Limits
    cells: tuple[Cell, ...]
    estimate: float | None = None
    """Seconds that a worker will need for it, by what its cells took before; None if they have not been done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellRequest:
    """One wished cell as the configuration states it, before planning gives it an identifier and a unit."""

    model: ModelSpec
    exporter: ExporterSpec
    opset: int
    dtype: str
    target: Target
    verify: VerifySpec
    limits: Limits
    swept: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineRules:
    """What of a cell may not be worse than what was accepted; a new failure always is."""

    compare: bool = True
    """Whether the run is compared at all."""
    gone: bool = True
    """Cells that the same command had before."""
    interface: bool = True
    """Inputs, outputs and their dynamic axes."""
    operators: bool = True
    """Operators that were not there."""
    error: float | None = 2.0
    """The factor that an error may not grow by, where it is above what eager PyTorch itself is off; None: any."""
    size: float | None = 0.05
    """The share that the bytes may not grow by; None: any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """What holds for the run as a whole."""

    runs: str
    """Absolute path of the folder that holds the run folders."""
    store: str
    """Absolute path of the store."""
    cluster: ClusterSpec
    trust: tuple[str, ...]
    """Patterns that the user adds to those of `build.trust`."""
    require_targets: bool
    overrides: tuple[str, ...]
    """As typed, for .hydra/overrides.yaml and the report."""
    deliver: Literal["all", "changed", "none"] = "all"
    """Which artifacts are copied out of the store into the run folder: changed leaves out what came from the cache."""
    force: bool = False
    """Work is done again although its outcome is known."""
    baseline: BaselineRules = BaselineRules()
    terminal: Literal["quiet", "normal", "verbose"] = "normal"
    """How much a run says: quiet is the verdict and what failed, verbose every cell and what its checks and its log said."""
    mlflow: str | None = None
    """Address of the MLflow store or server that the run is logged to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which of the declared cells are wanted now."""

    select: tuple[str, ...] = ()
    """Patterns on cell identifiers; empty wants all."""
    skip: tuple[str, ...] = ()
    """Patterns on cell identifiers."""
    only: str | None = None
    """By their outcome in the newest run: failed, not_passed, or a status."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """Everything the user asked for, resolved and checked."""

    settings: RunSettings
    requests: tuple[CellRequest, ...]
    selection: Selection = Selection()
    known_issues: tuple[KnownIssue, ...] = ()
    """Of the fleets; those of a model are in its spec."""
    plan_only: bool = False
    """The plan is to be printed, and nothing is to be done."""
    warnings: tuple[str, ...] = ()
    """What is odd and no mistake, a line each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All cells of a run grouped into units, in the order in which they were wished for; kept as plan.json."""

    schema_version: int
    settings: RunSettings
    units: tuple[Unit, ...]
    known_issues: tuple[KnownIssue, ...] = ()
    """Of the fleets; those of a model are in its units."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, skipped ones included, in plan order."""
        return tuple(cell for unit in self.units for cell in unit.cells)

    @property
    def placed(self) -> dict[str, tuple[Unit, Cell]]:
        """All cells by identifier, each with its unit."""
        return {cell.id: (unit, cell) for unit in self.units for cell in unit.cells}


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenArtifact:
    """A file that something else made, to be judged and not exported."""

    graph: str
    """Absolute path of the ONNX file; its external data is in the same folder."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Name of an input or output in the file → the name that the model declares; those not listed are equal."""
    compare_opset: bool = True
    """Whether the opset of the cell was asked for; if not, the file's own is as good as any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitTask:
    """A unit with what its worker needs to know of the run; crosses process borders as JSON."""

    unit: Unit
    store: str
    trust: tuple[str, ...]
    threads: int
    done: tuple[str, ...] = field(default=())
    """Cells of the unit that already have a verdict and are not to be done again."""
    answers: str = ""
    """Key of eager's answers, see `keys.cells.Keys.answers_key`; empty asks the module whatever the store knows."""
    tools: str = ""
    """What the keys say of tools, environment and platform, see `keys.surroundings.fingerprint`; empty asks for nothing."""
    exported: Mapping[str, CellResult] = field(default_factory=dict)
    """By cell, an earlier outcome whose artifact is in the store and only has to be verified."""
    given: Mapping[str, GivenArtifact] = field(default_factory=dict)
    """By cell, the artifacts that `judge` judges; empty where the unit exports."""
