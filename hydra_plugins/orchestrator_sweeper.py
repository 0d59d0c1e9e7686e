"""The sweeper that turns one command line into one batch: it composes once for each distinct choice of groups.

Swept values are not composed: they go to `orchestrator.config.load` as they are. Nothing is launched, no folder is made.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, QuotedString
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from orchestrator.config import AXES, RUN_KEYS, Assignment, Batch, Composition, explain
from orchestrator.errors import UserError
from orchestrator.fleet import Fleet, read_fleet
from orchestrator.names import suggestion
from orchestrator.structured import ModelConfig

# No dataclasses in this module: Hydra runs plugins before they are in sys.modules, where dataclasses would look.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="orchestrator",
    node={"_target_": "hydra_plugins.orchestrator_sweeper.OrchestratorSweeper"},
    provider="orchestrator",
)


ENOUGH_TO_GRAFT = 5
"""Combinations from which on it is quicker to compose options than combinations."""


class OrchestratorSweeper(Sweeper):
    """Gives the task function the means to compose.

    Hydra itself has composed the primary config only, see `orchestrator.__main__`: the overrides of the user come from there.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what `sweep` needs."""
        self._loader, self._task, self._primary = hydra_context.config_loader, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Calls the task function, once, with `Composer.batch` to turn overrides into a batch."""
        assert not arguments, "the overrides were meant to come with the task function"
        self._task(Composer(self._loader, self._primary))


class _Choice(NamedTuple):
    """The options of a group that are wanted."""

    group: str
    options: tuple[str, ...]
    swept: bool

    @property
    def names_cells(self) -> bool:
        """Whether the option becomes part of a cell's identifier."""
        return self.swept and self.group not in AXES


class _Wish(NamedTuple):
    """Groups to choose from and values to give, for one part of a batch."""

    choices: tuple[_Choice, ...]
    deletions: tuple[str, ...]
    assignments: tuple[Assignment, ...]
    """Those of the command line are not among them where a fleet wishes."""
    fleet: Fleet | None = None

    @property
    def options(self) -> dict[str, tuple[str, ...]]:
        """Of each group that is chosen."""
        return {choice.group: choice.options for choice in self.choices}


class Composer:
    """Composes what a user asked for."""

    def __init__(self, loader: ConfigLoader, primary: DictConfig) -> None:
        self._loader = loader
        self.primary = primary
        """The primary config as Hydra composed it, with Hydra's own node."""
        self._problems: list[str] = []
        self._primary_name: str = primary.hydra.job.config_name
        self._known: dict[str, list[str]] = {}

    def batch(self, typed: Sequence[str]) -> Batch:
        """Reads the overrides and composes each distinct choice of groups.

        Args:
            typed: The overrides of the command line that are not Hydra's own.

        Raises:
            UserError: All mistakes that were found, one line each.
        """
        self._check_primary()
        self._check_shadows()
        overrides = self._parsed(typed)
        wish = self._wish(overrides)
        self._check_model_or_fleet(overrides)
        self._raise_problems()
        wishes = [*self._wishes_of_fleets(overrides, wish)] if "fleet" in wish.options else [wish]
        self._raise_problems()
        compositions = [composition for wish in wishes for composition in self._compositions(wish)]
        self._raise_problems()
        return Batch(
            overrides=tuple(typed),
            compositions=compositions,
            assignments=wish.assignments,
            runs=self.primary.hydra.sweep.dir,
            trusted=self._trusted(),
            exporters=self._options("exporter"),
        )

    def _raise_problems(self) -> None:
        if self._problems:
            raise UserError(*dict.fromkeys(self._problems))

    # What must hold before anything is composed

    def _check_primary(self) -> None:
        name = self._primary_name
        launcher = self.primary.hydra.runtime.choices["hydra/launcher"]
        if launcher != "basic":
            raise UserError(f"hydra/launcher={launcher}: the orchestrator places its work itself and takes no launcher")
        if missing := sorted({"exporter", "target", "verify", "cluster"} - self.primary.keys()):
            raise UserError(f"config {name}: lacks {', '.join(missing)}; begin it with defaults: [config, _self_]")
        for source in self.primary.hydra.runtime.config_sources:
            if source.schema != "file" and source.provider not in ("hydra", "schema"):
                raise UserError(f"hydra.searchpath: {source.schema}://{source.path} is no folder on disk")

    def _check_shadows(self) -> None:
        """Refuses a user's file that has the name of one of ours: Hydra would silently take ours."""
        ours, *theirs = (folder for _, folder in sorted(self._folders(), key=lambda pair: pair[0] != "main"))
        for folder in theirs:
            for file in sorted(folder.rglob("*.yaml")):
                if (ours / file.relative_to(folder)).exists():
                    self._problems.append(f"{file}: has the name of a file of the orchestrator's own; rename it")
        self._raise_problems()

    def _folders(self) -> Iterator[tuple[str, Path]]:
        """Provider and path of each folder of configs."""
        for source in self.primary.hydra.runtime.config_sources:
            if source.schema == "file":
                yield source.provider, Path(source.path).absolute()

    # From overrides to wishes

    def _wish(self, overrides: Sequence[Override], fleet: Fleet | None = None) -> _Wish:
        """What overrides ask for, with their mistakes added to the problems."""
        return _Wish(
            choices=tuple(c for o in overrides if self._is_group(o) and (c := self._choice(o)) is not None),
            deletions=tuple(o.input_line or "" for o in overrides if o.is_delete()),
            assignments=tuple(self._assignment(o) for o in overrides if not o.is_delete() and not self._is_group(o)),
            fleet=fleet,
        )

    def _wishes_of_fleets(self, overrides: Sequence[Override], typed: _Wish) -> Iterator[_Wish]:
        """A wish for each set of models of a fleet that are asked for in the same way."""
        given = {override.key_or_group for override in overrides}
        chosen = tuple(choice for choice in typed.choices if choice.group != "fleet")
        for fleet in filter(None, map(self._fleet, typed.options["fleet"])):
            alike: dict[tuple[str, ...], list[str]] = {}
            for model in fleet.models:
                alike.setdefault(fleet.of(model), []).append(model)
            for texts, models in alike.items():
                declared = self._declared(texts, fleet)
                wish = self._wish([o for o in declared if o.key_or_group not in given], fleet)
                model_choice = _Choice("model", tuple(models), swept=True)
                yield wish._replace(
                    choices=(model_choice, *wish.choices, *chosen), deletions=(*wish.deletions, *typed.deletions)
                )

    def _fleet(self, name: str) -> Fleet | None:
        """What a fleet's file declares, or None with its mistakes added to the problems."""
        file = self._file(f"fleet/{name}")
        try:
            config = self._loader.load_sweep_config(self.primary, [f"{self._prefix('fleet')}fleet={name}"])
            raw = OmegaConf.to_container(config.fleet, resolve=True)
            return read_fleet(name, cast(dict[str, Any], raw), file, self._options("model"))
        except UserError as error:
            self._problems += error.problems
        except Exception as error:  # whatever Hydra raises while it reads what the user wrote
            self._problems.append(explain(error, self._where(error, str(file))))
        return None

    def _declared(self, texts: Sequence[str], fleet: Fleet) -> list[Override]:
        """The overrides of a fleet for a model; of two for one key the later one."""
        found: dict[str, Override] = {}
        for text in texts:
            if (override := self._override(text)) is None:
                continue
            key = override.key_or_group
            if key.partition(".")[0] in (*RUN_KEYS, "model", "fleet"):
                self._problems.append(f"{fleet.file}: overrides: {text}: {key} is not for one model of a fleet to say")
            else:
                found[key] = override
        return [*found.values()]

    def _parsed(self, typed: Sequence[str]) -> list[Override]:
        """The overrides that could be parsed, each key once."""
        found: dict[str, Override] = {}
        for text in typed:
            if (override := self._override(text)) is None:
                continue
            if override.key_or_group in found:
                self._problems.append(f"{text}: {override.key_or_group} is given twice")
            found[override.key_or_group] = override
        return [*found.values()]

    def _override(self, text: str) -> Override | None:
        """An override that can be used, or None with its mistake added to the problems."""
        try:
            (override,) = OverridesParser.create(config_loader=self._loader).parse_overrides([text])
        except HydraException as error:
            self._problems.append(f"{text}: cannot be read as key=value{_reason(error)}")
            return None
        if override.is_sweep_override() and not override.is_discrete_sweep():
            self._problems.append(f"{text}: an interval has no values to sweep over; use range, choice or a list")
            return None
        return override

    def _is_group(self, override: Override) -> bool:
        chosen_by_name = not override.is_delete() and not isinstance(override.value(), dict)
        return chosen_by_name and bool(self._options(override.key_or_group))

    def _options(self, group: str) -> list[str]:
        if group not in self._known:
            hydras = [*self.primary.hydra.overrides.hydra]
            self._known[group] = self._loader.get_group_options(group, ObjectType.CONFIG, self._primary_name, hydras)
        return self._known[group]

    def _has(self, group: str, option: str) -> bool:
        """Whether there is such an option; one in a folder of the group, as `limits/tensor_if`, is listed by its folder."""
        folder, _, name = f"{group}/{option}".rpartition("/")
        return name in self._options(folder)

    def _values(self, override: Override) -> tuple[Any, ...]:
        """The values of an override, one if it is no sweep."""
        value: Any = override.value()
        if isinstance(value, Glob):
            return tuple(value.filter(self._options(override.key_or_group)))
        return tuple(map(_plain, override.sweep_iterator())) if override.is_sweep_override() else (value,)

    def _choice(self, override: Override) -> _Choice | None:
        """The choice, or None with its mistakes added to the problems."""
        group, typed = override.key_or_group, str(override.input_line)
        expected = self._prefix(group)
        options = tuple(dict.fromkeys(map(str, self._values(override))))
        count = len(self._problems)
        if override.package is not None or override.get_key_element() != f"{expected}{group}":
            self._problems.append(f"{typed}: write {expected}{group}={override.get_value_string()}")
        if not options:
            self._problems.append(f"{typed}: matches none{suggestion('', self._options(group))}")
        if override.is_sweep_override() and group in RUN_KEYS:
            self._problems.append(f"{typed}: {group} holds for the run as a whole and cannot be swept")
        for unknown in sorted(option for option in {*options} if not self._has(group, option)):
            self._problems.append(f"{typed}: there is no {group} '{unknown}'{suggestion(unknown, self._options(group))}")
        if len(self._problems) > count:
            return None
        return _Choice(group, options, override.is_sweep_override())

    def _assignment(self, override: Override) -> Assignment:
        values = self._values(override)
        if not values:
            self._problems.append(f"{override.input_line}: is a sweep over nothing")
        return Assignment(
            typed=str(override.input_line),
            prefix="++" if override.is_force_add() else "+" if override.is_add() else "",
            key=override.key_or_group,
            values=values,
            swept=override.is_sweep_override(),
        )

    def _check_model_or_fleet(self, overrides: Sequence[Override]) -> None:
        given = {o.key_or_group for o in overrides if self._is_group(o)} & {"model", "fleet"}
        if given == {"model", "fleet"}:
            self._problems.append("+model and +fleet: give one of them; a fleet names its models itself")
        elif not given and not self._problems:
            self._problems.append(f"nothing to export: choose a model, +model=NAME{suggestion('', self._options('model'))}")

    # Composing

    def _compositions(self, wish: _Wish) -> Iterator[Composition]:
        """Every combination of options: each composed, or each option once where they do not depend on each other."""
        combinations = [dict(zip(wish.options, options, strict=True)) for options in itertools.product(*wish.options.values())]
        grafted = self._grafted(wish, combinations)
        for chosen in combinations:
            config = grafted(chosen) if grafted else self._composed(chosen, wish.deletions)
            if config is not None:
                yield Composition(
                    config=config,
                    model_file=self._file(f"model/{chosen['model']}"),
                    swept=tuple((c.group, chosen[c.group]) for c in wish.choices if c.names_cells),
                    assignments=wish.assignments if wish.fleet else (),
                    fleet=wish.fleet,
                )

    def _composed(self, chosen: Mapping[str, str], deletions: Sequence[str]) -> DictConfig | None:
        """What Hydra makes of a choice, or None with its mistakes added to the problems."""
        selectors = [f"{self._prefix(group)}{group}={option}" for group, option in chosen.items()]
        try:
            return self._loader.load_sweep_config(self.primary, [*selectors, *deletions])
        except Exception as error:  # whatever Hydra raises while it reads what the user wrote
            self._problems.append(explain(error, self._where(error, " ".join(selectors))))
            return None

    def _grafted(
        self, wish: _Wish, combinations: Sequence[Mapping[str, str]]
    ) -> Callable[[Mapping[str, str]], DictConfig] | None:
        """Makes a combination from the parts of others; None where an option may depend on another, or nothing is saved.

        Composing takes Hydra 40 ms: a fleet of 200 models with two exporters would take 16 s.
        """
        first, last = combinations[0], combinations[-1]
        alone = [(group, option) for group, options in wish.options.items() for option in options[1:]]
        if len(combinations) < ENOUGH_TO_GRAFT or (base := self._composed(first, wish.deletions)) is None:
            return None
        parts: dict[tuple[str, str], DictConfig] = {}
        for group, option in alone:
            part = self._model_alone(option) if group == "model" and not wish.deletions else None
            part = part or self._composed_alone(group, {**first, group: option}, base, wish.deletions)
            if part is None:
                return None
            parts[group, option] = part
        if any("${" in repr(OmegaConf.to_container(config)) for config in (_without_hydra(base), *parts.values())):
            return None

        def graft(chosen: Mapping[str, str]) -> DictConfig:
            return _with(base, {item[0]: parts[item] for item in chosen.items() if item in parts})

        whole = self._composed(last, wish.deletions)
        return graft if whole is not None and _without_hydra(whole) == graft(last) else None

    def _composed_alone(
        self, group: str, chosen: Mapping[str, str], base: DictConfig, deletions: Sequence[str]
    ) -> DictConfig | None:
        """The node of a group with another option than the base has; None if more than the node is another then."""
        config = self._composed(chosen, deletions)
        if config is None or not isinstance(node := config._get_node(group), DictConfig):
            return None
        return node if _without_hydra(config, group) == _without_hydra(base, group) else None

    def _model_alone(self, option: str) -> DictConfig | None:
        """The node of a model whose file stands for itself; None if Hydra has to read it, or to say what is wrong with it."""
        file = self._file(f"model/{option}")
        try:
            text = file.read_text(encoding="utf-8")
            if re.search(r"^(defaults|\s*#\s*@package|.*\$\{)", text, re.MULTILINE):
                return None
            return cast(DictConfig, OmegaConf.merge(OmegaConf.structured(ModelConfig), OmegaConf.load(file)))
        except Exception:  # whatever is wrong, Hydra tells it
            return None

    def _prefix(self, group: str) -> str:
        """A group that the defaults list does not hold is added to it."""
        return "" if group in self.primary.hydra.runtime.choices else "+"

    def _where(self, error: Exception, otherwise: str) -> str:
        """The file that Hydra says it was at."""
        named = re.match(r"In '(.+?)': .* raised while composing", str(error))
        return str(self._file(named[1])) if named else otherwise

    def _file(self, name: str) -> Path:
        """The YAML file of `group/option`."""
        return next(path for _, folder in self._folders() if (path := folder / f"{name}.yaml").exists())

    def _trusted(self) -> list[str]:
        """What the primary config's own file says under trust."""
        node = OmegaConf.select(OmegaConf.load(self._file(self._primary_name)), "trust")
        return [] if node is None else cast(list[str], OmegaConf.to_container(node, resolve=False))


def _without_hydra(config: DictConfig, *groups: str) -> DictConfig:
    """A copy without Hydra's own node, and without some others."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key not in ("hydra", *groups)])


def _with(base: DictConfig, replaced: Mapping[str, DictConfig]) -> DictConfig:
    """A copy with other nodes in the place of some."""
    config = _without_hydra(base, *replaced)
    with open_dict(config):
        for group, node in replaced.items():
            config[group] = node
    return config


def _reason(error: HydraException) -> str:
    """What the parser says, without the override, which is told anyway, and the link."""
    lines = [line for line in str(error).splitlines() if not line.startswith(("Error parsing", "Lexer", "See "))]
    return f"; {lines[0]}" if lines and lines[0].strip(" ^") else ""


def _plain(value: Any) -> Any:
    """The value without Hydra's mark on texts that were quoted."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value
