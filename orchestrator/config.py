"""From what Hydra composed to frozen specs: the only reader of DictConfig.

What a model declares is judged in `declaration`; identifiers, units and skips are `plan`'s.
"""

from __future__ import annotations

import copy
import functools
import itertools
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from orchestrator.build import translations
from orchestrator.declaration import FLOATS, Surroundings, bytes_of, read_model
from orchestrator.errors import UserError
from orchestrator.fleet import Fleet
from orchestrator.names import NAME_RULE, is_name, suggestion
from orchestrator.plan import identifier
from orchestrator.report import mlflow_log
from orchestrator.result import Status
from orchestrator.spec import (
    BaselineRules,
    CellRequest,
    ClusterSpec,
    ExporterSpec,
    Limits,
    ModelSpec,
    RunSettings,
    RunSpec,
    Selection,
    Target,
    VerifyLevel,
    VerifySpec,
)
from orchestrator.verify.base import REFERENCE_EVALUATOR

RUN_KEYS = (
    *("cluster", "store", "trust", "require_targets", "select", "skip", "only"),
    *("plan", "deliver", "force", "baseline", "terminal", "mlflow"),
)
"""Keys that hold for the run as a whole; all others may differ from cell to cell."""
AXES = ("model", "exporter", "opset", "dtype", "target")
"""Keys that have a place of their own in a cell's identifier."""


LISTS = ("select", "skip", "trust")
"""Keys whose value is a list, where `key=a,b` would be a sweep."""
ONLY = ("failed", "not_passed", *(status.value for status in Status))
"""What `only` may say: did not end as expected, any other status than passed, or that status."""

DELIVER = ("all", "changed", "none")
"""What `deliver` may say; the first is the default."""

TERMINAL = ("quiet", "normal", "verbose")
"""What `terminal` may say."""

_Value = TypeVar("_Value")
_REFUSED: Final = object()


# What the sweeper hands over.


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A value of the command line: `key=value`, `key=value,value`, with `+` or `++` before it."""

    typed: str
    """As the user wrote it, for messages."""
    prefix: str
    """Empty, `+` or `++`, with the meaning that Hydra gives them."""
    key: str
    values: tuple[Any, ...]
    swept: bool
    """Written as a sweep, if only of one value."""

    @property
    def head(self) -> str:
        """The top-level key."""
        return self.key.partition(".")[0]


@dataclass(frozen=True, kw_only=True)
class Composition:
    """What Hydra composed for one choice of groups, before the assignments."""

    config: DictConfig
    model_file: Path
    """The YAML file of the chosen model."""
    swept: tuple[tuple[str, str], ...]
    """Swept groups that are no axis, with the option that holds here."""
    assignments: Sequence[Assignment] = ()
    """Of its fleet; those of the command line come after them."""
    fleet: Fleet | None = None
    """That asked for it."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One command line, read and composed."""

    overrides: tuple[str, ...]
    """As typed."""
    compositions: Sequence[Composition]
    """One for each distinct choice of groups, in the order of the cells."""
    assignments: Sequence[Assignment]
    """Of the command line."""
    runs: str
    """The folder of the run folders, relative to the working folder."""
    trusted: Sequence[str]
    """What the primary config itself says under trust, interpolations unresolved."""
    exporters: Sequence[str]
    """Options of the group exporter."""


def load(batch: Batch) -> RunSpec:
    """Turns what Hydra composed into specs: the product of compositions and swept values, each value judged once.

    Raises:
        UserError: All mistakes that were found in the configuration, one line each.
    """
    _check_run_keys(batch.assignments)
    problems: list[str] = []
    requests: list[CellRequest] = []
    excluded: set[tuple[str, str]] = set()
    for composition in batch.compositions:
        for request in _Cells(batch, composition, problems).requests():
            if matches := _exclusions(request, composition.fleet):
                excluded |= matches
            else:
                requests.append(request)
    settings = _attempt(lambda: _settings(batch), "the configuration", problems)
    selection = _attempt(lambda: _selection(batch.compositions[0].config), "the configuration", problems)
    if not requests and not problems:
        problems.append("exclude: leaves no cell of what was asked for")
    if problems or settings is None or selection is None:
        raise UserError(*dict.fromkeys(problems))
    return RunSpec(
        settings=settings,
        requests=tuple(requests),
        selection=selection,
        known_issues=tuple(dict.fromkeys(issue for fleet in _fleets(batch) for issue in fleet.known_issues)),
        plan_only=batch.compositions[0].config.plan,
        warnings=tuple(_warnings(batch, requests, excluded)),
    )


def _fleets(batch: Batch) -> list[Fleet]:
    """Each once."""
    return list({composition.fleet.name: composition.fleet for composition in batch.compositions if composition.fleet}.values())


def _exclusions(request: CellRequest, fleet: Fleet | None) -> set[tuple[str, str]]:
    """The fleet, with each of its patterns that excludes the cell."""
    if fleet is None:
        return set()
    name = identifier(request)
    return {(fleet.name, pattern) for pattern in fleet.exclude if fnmatchcase(name, pattern)}


def _warnings(batch: Batch, requests: Sequence[CellRequest], excluded: Collection[tuple[str, str]]) -> Iterator[str]:
    """Patterns that were meant to match and match nothing: perhaps a typing mistake, perhaps what they were for is gone."""
    names = [identifier(request) for request in requests]
    given = {assignment.head for assignment in batch.assignments} | {override.partition("=")[0] for override in batch.overrides}
    for fleet in _fleets(batch):
        # Without an axis that the command line replaced, all that the fleet declares is there.
        if not given & {*AXES}:
            for issue in fleet.known_issues:
                if not any(fnmatchcase(name, issue.cells) for name in names):
                    yield f"{fleet.file}: known_issues: '{issue.cells}' matches no cell"
            for pattern in fleet.exclude:
                if (fleet.name, pattern) not in excluded:
                    yield f"{fleet.file}: exclude: '{pattern}' matches no cell"
    models = {request.model.name: request.model for request in requests}
    for model in models.values():
        for issue in model.known_issues:
            if not _may_match(issue.cells, f"{model.name}-"):
                yield f"{model.config_path}: known_issues: '{issue.cells}' can match no cell of {model.name}"


def _may_match(pattern: str, beginning: str) -> bool:
    """Whether a pattern can match a name that begins so, by what it has before its first wildcard."""
    fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return fixed.startswith(beginning) or beginning.startswith(fixed)


def _selection(config: DictConfig) -> Selection:
    if config.only is not None:
        _one_of("only", config.only, ONLY)
    return Selection(select=tuple(config.select), skip=tuple(config.skip), only=config.only)


def hydra_files(batch: Batch, primary: DictConfig) -> dict[str, str]:
    """What Hydra would have written into `.hydra/`, as YAML by file name; `config.yaml` is the first cell's.

    Args:
        batch: The command line, loaded.
        primary: The primary config, with Hydra's own node.
    """
    first = batch.compositions[0]
    config = copy.deepcopy(first.config)
    for assignment in (*first.assignments, *batch.assignments):
        _assign(config, assignment, assignment.values[0])
    hydra_node = OmegaConf.masked_copy(primary.hydra, [str(key) for key in primary.hydra if key not in ("help", "hydra_help")])
    hydra_node.overrides.task = list(batch.overrides)
    return {
        "config.yaml": OmegaConf.to_yaml(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])),
        "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra_node})),
        "overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(list(batch.overrides))),
    }


@functools.cache
def newest_opset() -> int:
    """The newest opset that the installed onnx knows; imported here so that `--help` does not wait for it."""
    import onnx.defs

    return int(onnx.defs.onnx_opset_version())


def explain(error: Exception, where: str) -> str:
    """What Hydra or OmegaConf complains about, as one line for a person.

    Args:
        error: What was raised while a config was composed, changed or resolved.
        where: The file or override that it is about, said first.
    """
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        return f"{where}: there is no {group} '{option}'{suggestion(option, error.options)}"
    cause = error.__cause__ or error.__context__
    if isinstance(error, HydraException) and isinstance(cause, OmegaConfBaseException):
        return explain(cause, where)
    if isinstance(error, ConfigAttributeError | ConfigKeyError) and isinstance(error.parent_node, DictConfig):
        known = (str(key) for key in error.parent_node if key != "hydra")
        return f"{where}: unknown key '{error.key}'{suggestion(str(error.key), known)}"
    if isinstance(error, RecursionError):
        return f"{where}: the file contains itself"
    key = getattr(error, "full_key", None) or ""
    return f"{where}: {key}: {_first_line(error)}" if key and not where.startswith(key) else f"{where}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    """The message without what OmegaConf adds on types and Hydra on its search path."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = itertools.takewhile(lambda line: not line.startswith(("full_key:", "Config search path:")), filter(None, lines))
    return " ".join(kept) or type(error).__name__


def _attempt(read: Callable[[], _Value], where: str, problems: list[str]) -> _Value | None:
    """What was read, or None with the mistakes added to the problems."""
    try:
        return read()
    except UserError as error:
        problems.extend(error.problems)
    except OmegaConfBaseException as error:
        problems.append(explain(error, where))
    return None


def _assign(config: DictConfig, assignment: Assignment, value: Any) -> None:
    # A mapping was merged with the one in the files when it was judged; it replaces what an earlier swept value left.
    OmegaConf.update(config, assignment.key, value, merge=False, force_add=bool(assignment.prefix))


class _Cells:
    """The cells of one composition: the product of the swept values over it."""

    def __init__(self, batch: Batch, composition: Composition, problems: list[str]) -> None:
        self._batch, self._problems = batch, problems
        self._config, self._file, self._swept_groups = composition.config, composition.model_file, composition.swept
        self._given = (*composition.assignments, *batch.assignments)
        self._exporter_defaults = cast(dict[str, Any], OmegaConf.to_container(self._config.exporter, resolve=False))
        self._assignments: list[Assignment] = []
        self._sections: dict[tuple[object, ...], Any] = {}
        self._trust: tuple[str, ...] = ()
        self._linked = False

    def requests(self) -> Iterator[CellRequest]:
        """All cells; none if a value of the command line does not fit the schema."""
        self._assignments = [judged for a in self._given if (judged := self._judged(a)) is not None]
        if len(self._assignments) < len(self._given):
            return
        self._linked = self._interpolates()
        self._trust = _attempt(lambda: _trust(self._batch, self._config), "trust", self._problems) or ()
        for chosen in itertools.product(*(range(len(a.values)) for a in self._assignments)):
            sections = {name: self._section(name, chosen) for name in _READERS}
            if None not in sections.values():
                yield CellRequest(**sections, swept=self._swept(chosen))

    def _swept(self, chosen: tuple[int, ...]) -> tuple[tuple[str, str], ...]:
        named = [(a, i) for a, i in zip(self._assignments, chosen, strict=True) if a.swept and a.key not in AXES]
        return (*self._swept_groups, *((a.key, _text(a.values[i])) for a, i in named))

    # Judging values once

    def _judged(self, assignment: Assignment) -> Assignment | None:
        """The assignment with its values as they are in the end, or None with its mistakes added to the problems."""
        if assignment.key == "exporter.name":
            self._problems.append(f"{assignment.typed}: choose an exporter as exporter=NAME; the name is no option of it")
            return None
        if assignment.prefix == "+" and OmegaConf.select(self._config, assignment.key, default=None) is not None:
            self._problems.append(f"{assignment.typed}: there is a {assignment.key} already; leave out the +")
            return None
        values = [self._judged_value(assignment, value) for value in assignment.values]
        return None if _REFUSED in values else replace(assignment, values=tuple(values))

    def _judged_value(self, assignment: Assignment, value: Any) -> Any:
        option = assignment.key.removeprefix("exporter.")
        default = self._exporter_defaults.get(option)
        if option != assignment.key and not assignment.prefix and not _fits(value, default):
            self._problems.append(f"{assignment.typed}: {value!r} is not of the type of the default, {default!r}")
            return _REFUSED
        try:
            if not isinstance(value, dict):
                _assign(self._config, assignment, value)
                return value
            draft = copy.deepcopy(self._config)
            OmegaConf.update(draft, assignment.key, value, merge=True, force_add=bool(assignment.prefix))
            return OmegaConf.to_container(OmegaConf.select(draft, assignment.key), resolve=False)
        except OmegaConfBaseException as error:
            self._problems.append(explain(error, assignment.typed))
            return _REFUSED

    def _interpolates(self) -> bool:
        """Whether a section may refer to another; then all are read again for each combination of swept values."""
        config = OmegaConf.to_container(OmegaConf.masked_copy(self._config, list(_READERS)), resolve=False)
        return "${" in repr([config, *(a.values for a in self._assignments if a.head in _READERS)])

    # Reading sections, each once for the swept values that it depends on

    def _section(self, name: str, chosen: tuple[int, ...]) -> Any:
        heads = ("model", "exporter") if name == "exporter" else (name,)
        depends = tuple(i for a, i in zip(self._assignments, chosen, strict=True) if self._linked or a.head in heads)
        key = (name, depends)
        if key not in self._sections:
            self._assign(chosen, "model" if name == "exporter" else name)
            where = str(self._file) if name == "model" else name
            self._sections[key] = _attempt(lambda: _READERS[name](self, chosen), where, self._problems)
        return self._sections[key]

    def _assign(self, chosen: tuple[int, ...], head: str) -> None:
        for assignment, i in zip(self._assignments, chosen, strict=True):
            if self._linked or assignment.head == head:
                _assign(self._config, assignment, assignment.values[i])

    def _model(self, _: tuple[int, ...]) -> ModelSpec:
        if self._config.model is None:
            raise UserError(f"{self._file}: declares no model; its keys belong at the top of the file")
        around = Surroundings(file=self._file, trust=self._trust, exporters=self._batch.exporters)
        return read_model(cast(dict[str, Any], OmegaConf.to_container(self._config.model, resolve=True)), around)

    def _exporter(self, chosen: tuple[int, ...]) -> ExporterSpec:
        """The group's options, then the model's for this exporter, then the command line's."""
        self._config.exporter = self._exporter_defaults
        for option, value in self._model_options():
            self._config.exporter[option] = value
        self._assign(chosen, "exporter")
        options = cast(dict[str, Any], OmegaConf.to_container(self._config.exporter, resolve=True))
        name = _name("exporter.name", options.pop("name", None))
        if found := list(translations.problems(options, self._trust)):
            raise UserError("\n".join(f"exporter.{translations.OPTION}: {problem}" for problem in found))
        return ExporterSpec(name=name, options=options)

    def _model_options(self) -> Iterator[tuple[str, Any]]:
        exporter = self._exporter_defaults.get("name")
        known = {key: value for key, value in self._exporter_defaults.items() if key != "name"}
        declared = self._config.model.exporter_options if self._config.model is not None else {}
        for option, value in declared.get(exporter, {}).items():
            where = f"{self._file}: exporter_options.{exporter}.{option}"
            if option not in known:
                raise UserError(f"{where}: {exporter} has no such option{suggestion(option, known)}")
            if not _fits(value, known[option]):
                raise UserError(f"{where}: {value!r} is not of the type of the default, {known[option]!r}")
            yield option, value

    def _opset(self, _: tuple[int, ...]) -> int:
        opset: int = self._config.opset
        if not 1 <= opset <= newest_opset():
            raise UserError(f"opset={opset}: out of range; the installed onnx knows 1 to {newest_opset()}")
        return opset

    def _dtype(self, _: tuple[int, ...]) -> str:
        return _one_of("dtype", self._config.dtype, FLOATS)

    def _target(self, _: tuple[int, ...]) -> Target:
        target = self._config.target
        device = _one_of("target.device", target.device, ("cpu", "cuda"))
        if not target.provider.endswith("ExecutionProvider") and target.provider != REFERENCE_EVALUATOR:
            known = f"they end in ExecutionProvider; nor is it {REFERENCE_EVALUATOR}"
            raise UserError(f"target.provider={target.provider}: no provider of ONNX Runtime; {known}")
        return Target(
            name=_name("target.name", target.name),
            device=cast(Literal["cpu", "cuda"], device),
            provider=target.provider,
            latency=target.latency,
        )

    def _verify(self, _: tuple[int, ...]) -> VerifySpec:
        verify = self._config.verify
        level = VerifyLevel(_one_of("verify.level", verify.level, tuple(VerifyLevel)))
        if verify.seed < 0 or verify.k <= 0:
            raise UserError(f"verify: seed {verify.seed} must be at least 0 and k {verify.k} above 0")
        return VerifySpec(level=level, seed=verify.seed, k=verify.k)

    def _limits(self, _: tuple[int, ...]) -> Limits:
        limits = self._config.limits
        if limits.seconds <= 0:
            raise UserError(f"limits.seconds={limits.seconds:g}: a deadline is above 0")
        return Limits(
            seconds=limits.seconds, memory=_bytes("limits.memory", limits.memory), log=_bytes("limits.log", limits.log)
        )


_READERS: dict[str, Callable[[_Cells, tuple[int, ...]], object]] = {
    "model": _Cells._model,
    "exporter": _Cells._exporter,
    "opset": _Cells._opset,
    "dtype": _Cells._dtype,
    "target": _Cells._target,
    "verify": _Cells._verify,
    "limits": _Cells._limits,
}
"""By field of CellRequest."""


def _settings(batch: Batch) -> RunSettings:
    config = batch.compositions[0].config
    runs = Path(batch.runs).absolute()
    if config.store.path == "":
        raise UserError("store.path='': name a folder, or null for the one beside the runs")
    return RunSettings(
        runs=str(runs),
        store=str(runs / ".store" if config.store.path is None else Path(config.store.path).absolute()),
        cluster=_cluster(config.cluster),
        trust=_trust(batch, config),
        require_targets=config.require_targets,
        overrides=batch.overrides,
        deliver=_deliver(batch, config),
        force=config.force,
        baseline=_baseline(config.baseline),
        terminal=cast(Literal["quiet", "normal", "verbose"], _one_of("terminal", config.terminal, TERMINAL)),
        mlflow=_mlflow(config.mlflow),
    )


def _mlflow(address: str | None) -> str | None:
    if address is not None and not mlflow_log.is_installed():
        raise UserError(f"mlflow={address}: MLflow is not installed; install the extra: onnx-batch-exporter[mlflow]")
    return address


def _baseline(config: DictConfig) -> BaselineRules:
    if config.error is not None and config.error < 1:
        raise UserError(f"baseline.error={config.error:g}: a factor of at least 1, or null to take any error")
    if config.size is not None and config.size <= 0:
        raise UserError(f"baseline.size={config.size:g}: a share above 0 as 0.05, or null to take any size")
    return BaselineRules(**cast(dict[str, Any], OmegaConf.to_container(config)))


def _deliver(batch: Batch, config: DictConfig) -> Literal["all", "changed", "none"]:
    """As the command line or the primary config says, else as the fleets do."""
    fleets = {fleet.deliver for fleet in _fleets(batch) if fleet.deliver}
    wished: set[str] = {config.deliver} if config.deliver else fleets or {DELIVER[0]}
    if len(wished) > 1:
        raise UserError(f"deliver: the fleets wish for {' and '.join(sorted(wished))}; say which with deliver=…")
    return cast(Literal["all", "changed", "none"], _one_of("deliver", wished.pop(), DELIVER))


def _check_run_keys(assignments: Sequence[Assignment]) -> None:
    """What holds for the run as a whole has one value, and a list is written as one."""
    problems = []
    for assignment in assignments:
        value = assignment.values[0]
        if assignment.key in LISTS and not isinstance(value, list):
            listed = ",".join(map(str, assignment.values))
            what = "is a sweep" if assignment.swept else "is no list"
            problems.append(f"{assignment.typed}: {what}; a list is written '{assignment.key}=[{listed}]', in quotes")
        elif assignment.swept and assignment.head in RUN_KEYS:
            problems.append(f"{assignment.typed}: {assignment.head} holds for the run as a whole and cannot be swept")
    if problems:
        raise UserError(*problems)


def _cluster(config: DictConfig) -> ClusterSpec:
    workers, threads = config.workers or os.cpu_count() or 1, config.threads_per_worker or 0
    few = {name: count for name, count in (("workers", workers), ("threads_per_worker", threads)) if count < 0}
    if few:
        raise UserError(*(f"cluster.{name}={count}: at least 1, or null to choose" for name, count in few.items()))
    kind = cast(Literal["local", "inline", "ray"], _one_of("cluster.kind", config.kind, ("local", "inline", "ray")))
    if kind == "ray":
        # Cores of other machines are not ours to share out: a worker takes as many as it has threads.
        threads = max(threads, 1)
        _check_address(config.address)
    elif config.address is not None:
        raise UserError(f"cluster.address={config.address}: only for a cluster that exists, cluster=ray")
    return ClusterSpec(
        kind=kind,
        workers=workers,
        threads_per_worker=threads,
        address=config.address,
        allow_no_token=config.allow_no_token,
    )


def _check_address(address: str | None) -> None:
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise UserError(f"cluster.address={address}: with cluster=ray write host:port of the cluster's head node")


def _trust(batch: Batch, config: DictConfig) -> tuple[str, ...]:
    """The user's patterns; those that come with a model or another group are refused, whatever they are."""
    typed = any(assignment.key == "trust" for assignment in batch.assignments)
    if not typed and OmegaConf.to_container(config.trust, resolve=False) != list(batch.trusted):
        raise UserError("trust: only the primary config and the command line may set it, not a file of a group")
    return tuple(config.trust)


def _one_of(key: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise UserError(f"{key}={value}: not one of {', '.join(allowed)}")
    return value


def _name(key: str, value: object) -> str:
    if not isinstance(value, str) or not is_name(value):
        raise UserError(f"{key}={value}: not a name: {NAME_RULE}")
    return value


def _bytes(key: str, value: int | str) -> int:
    size = bytes_of(value)
    if size is None:
        raise UserError(f"{key}={value}: no size in bytes; write a number above 0, or for example 500MB or 4GiB")
    return size


def _fits(value: object, default: object) -> bool:
    """Whether an exporter's option may have the value, judged by the type of its default; null takes anything."""
    if default is None:
        return True
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def _text(value: object) -> str:
    """A swept value as it stands in an identifier, before planning makes it printable."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)
