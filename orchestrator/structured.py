"""The structured configs that Hydra checks files and overrides against; short-lived, `config` makes specs of them.

Optional fields without a default are required: their absence is told with all other mistakes, not by OmegaConf.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

SCHEMA = "schema"
"""Name under which `conf/config.yaml` finds the schema in its defaults list."""


@dataclass
class DimConfig:
    """A dynamic dimension of a model."""

    min: int = 1
    """The smallest size that is meant, at least 1."""
    max: int | None = None
    """The largest size that is meant, at least 2; null: no upper end."""


@dataclass
class InputConfig:
    """One input of a model."""

    name: str | None = None
    """Of the input in the artifact; of forward's parameter too, if it is a keyword input."""
    shape: list[Any] = field(default_factory=list)
    """A size per axis: a number, or the name of a dimension declared in dims."""
    dtype: str = "float32"
    """As in torch. Floating inputs are cast to the cell's dtype."""
    range: list[float] | None = None
    """[low, high): values are drawn evenly from it; integers need one."""
    generator: str | None = None
    """How values are drawn: uniform (needs a range), normal, or mask (ones, then zeros, along the last axis)."""
    keyword: bool = False
    """Forward takes it by name; such inputs come after the positional ones."""


@dataclass
class WeightsConfig:
    """Where a model's weights come from."""

    seed: int | None = None
    """Random weights, the same every time; instead of a file."""
    file: str | None = None
    """A .safetensors file, or one that torch.load reads with weights_only; relative to this YAML file, or to the package."""
    url: str | None = None
    """Address of such a file, with https, http or file; fetched when it is needed, kept in the store. Needs sha256."""
    package: str | None = None
    """An installed import package that carries the file."""
    sha256: str | None = None
    """Digest that the file must have, 64 hexadecimal digits."""
    key: str | None = None
    """Entry of a checkpoint that holds the state dict, as model_state_dict."""
    prefix: str = ""
    """Removed from the names in the file; names without it are left out."""
    strict: bool = True
    """Every name of the module must be in the file and the other way round."""


@dataclass
class KnownIssueConfig:
    """A cell that is known not to pass."""

    cells: str | None = None
    """Pattern on cells' identifiers, as `mymodel-torchscript-*`."""
    status: str | None = None
    """How such a cell is expected to end."""
    reason: str | None = None
    """Why, for whoever reads the report."""
    owner: str | None = None
    """Who looks after it."""
    expires: str | None = None
    """From this day on, as 2027-01-31, it excuses nothing any more."""


@dataclass
class ModelConfig:
    """A file of the group model."""

    name: str | None = None
    """First part of its cells' identifiers."""
    build: dict[str, Any] = field(default_factory=dict)
    """_target_, the dotted path of a class or function that returns the module, and its keyword arguments."""
    weights: WeightsConfig | None = None
    """{seed: 0}, {file: …}, {package: …, file: …} or {url: …, sha256: …}."""
    mode: str = "eval"
    """What is exported: eval, or train for a model that is meant to run so."""
    dims: dict[str, DimConfig] = field(default_factory=dict)
    """Dynamic dimensions by name; their names stand in the shapes of inputs."""
    inputs: list[InputConfig] = field(default_factory=list)
    """Every tensor that forward takes, positional ones first."""
    outputs: list[Any] = field(default_factory=list)
    """A name for each tensor of the flattened answer, or name with rtol, atol, constant; empty: its place, as past.0.key."""
    select: list[str] = field(default_factory=list)
    """Places in the answer to keep, with all below them, in this order; empty keeps all."""
    rename: dict[str, str] = field(default_factory=dict)
    """Where outputs is empty: name that an output has by its place → name to use instead."""
    exportable: bool = False
    """The factory returns a torch.onnx.ExportableModule, which declares its inputs; dims here replace its own."""
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Sets of inputs that reach other branches: name → input → range or generator."""
    known_issues: list[KnownIssueConfig] = field(default_factory=list)
    """Cells that are known not to pass, with the reason; they do not fail a run."""
    size: Any = None
    """Of the weights, as 400MB: a hint, so that long work starts first; what a run took before is a better one."""
    exporter_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Exporter → options that this model needs."""


@dataclass
class TargetConfig:
    """A file of the group target."""

    name: str = ""
    device: str = ""
    provider: str = ""
    latency: bool = False


@dataclass
class VerifyConfig:
    """A file of the group verify."""

    level: str = ""
    seed: int = 0
    k: float = 8.0


@dataclass
class LimitsConfig:
    """What a cell may use."""

    seconds: float = 600.0
    memory: int | str = "8GiB"
    log: int | str = "16MiB"


@dataclass
class ClusterConfig:
    """A file of the group cluster."""

    kind: str = ""
    workers: int | None = None
    threads_per_worker: int | None = None
    address: str | None = None
    allow_no_token: bool = False


@dataclass
class StoreConfig:
    """Where results are kept."""

    path: str | None = None


@dataclass
class BaselineConfig:
    """What of a cell may not be worse than what was accepted."""

    compare: bool = True
    gone: bool = True
    interface: bool = True
    operators: bool = True
    error: float | None = 2.0
    size: float | None = 0.05


@dataclass
class FleetConfig:
    """A file of the group fleet: a batch that is declared once."""

    models: list[str] = field(default_factory=list)
    """Names of models, or patterns such as bert_*."""
    matrix: dict[str, Any] | None = None
    """Axis → values: exporter, opset, dtype, target. An axis on the command line replaces it."""
    exclude: list[str] = field(default_factory=list)
    """Patterns on cells' identifiers: combinations that are not wanted."""
    overrides: dict[str, list[str]] = field(default_factory=dict)
    """Pattern on models → overrides for them, written as on the command line."""
    known_issues: list[KnownIssueConfig] = field(default_factory=list)
    """Beside those of the models."""
    deliver: str | None = None
    """all, changed or none, unless the command line says otherwise."""


@dataclass
class Config:
    """The whole configuration. An exporter's options are as open as its YAML file; each has the type of its default there."""

    model: ModelConfig | None = None
    fleet: FleetConfig | None = None
    exporter: dict[str, Any] = field(default_factory=dict)
    opset: int = 20
    dtype: str = "float32"
    target: TargetConfig = field(default_factory=TargetConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    trust: list[str] = field(default_factory=list)
    require_targets: bool = False
    select: list[str] = field(default_factory=list)
    skip: list[str] = field(default_factory=list)
    only: str | None = None
    plan: bool = False
    deliver: str | None = None
    force: bool = False
    baseline: BaselineConfig = field(default_factory=BaselineConfig)
    terminal: str = "normal"
    mlflow: str | None = None


def register() -> None:
    """Makes the schema known to Hydra, before it composes anything."""
    ConfigStore.instance().store(name=SCHEMA, node=Config, provider="orchestrator")
