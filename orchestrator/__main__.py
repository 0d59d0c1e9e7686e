"""The command line, a table of contents: a verb, or what was typed → Hydra → specs → the run → an exit code.

What a verb does is its module in `orchestrator.commands`; what the configuration means is `orchestrator.config`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orchestrator
from orchestrator.errors import EXIT_UNEXPECTED, InterruptedRunError, OrchestratorError, UserError
from orchestrator.names import suggestion

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hydra_plugins.orchestrator_sweeper import Composer
    from orchestrator.config import Batch
    from orchestrator.spec import RunSpec

VERBS = {
    "verify": "orchestrator.commands.verify",
    "resume": "orchestrator.commands.resume",
    "gc": "orchestrator.commands.gc",
    "init": "orchestrator.commands.init",
    "report": "orchestrator.commands.report",
    "audit": "orchestrator.commands.audit",
    "runs": "orchestrator.commands.runs",
    "show": "orchestrator.commands.show",
    "diff": "orchestrator.commands.diff",
    "fleet": "orchestrator.commands.fleet",
    "accept": "orchestrator.commands.accept",
    "publish": "orchestrator.commands.publish",
    "doctor": "orchestrator.commands.doctor",
}
"""The first word of the command line → the module whose `main` does it. Without a verb it is a run."""
HYDRA_KEYS = ("hydra.sweep.dir", "hydra.searchpath")
"""What of Hydra's own configuration has an effect here: the folder of the runs, and where configs are looked for."""


def main() -> int:
    """Does what the command line says.

    Returns:
        The exit code, see `orchestrator.errors`.
    """
    try:
        code = _do(sys.argv[1:])
        sys.stdout.flush()
        return code
    except OrchestratorError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return InterruptedRunError.exit_code
    except BrokenPipeError:
        # The reader left, as `head` does; the interpreter would complain when it flushes what is left.
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return EXIT_UNEXPECTED


def _do(typed: Sequence[str]) -> int:
    if typed and (module := _verb(typed[0])):
        return int(importlib.import_module(module).main(typed[1:], lambda words: _read(_parse(words)).spec))
    if "--version" in typed:
        sys.stdout.write(f"{orchestrator.__version__}\n")
        return 0
    arguments = _parse(typed)
    if arguments.help or arguments.hydra_help:
        _start_hydra([text for text in typed if text not in arguments.overrides], _nothing)
        return 0
    if arguments.cfg or arguments.info or arguments.shell_completion:
        _start_hydra(typed, _nothing)
        return 0
    order = _read(arguments)
    from orchestrator.commands.run import run

    if arguments.json and not order.spec.plan_only:
        raise UserError("--json: prints the plan, with plan=true; what a run found is in the report.json of its folder")
    return run(order.spec, order.configs, as_json=arguments.json)


def _verb(word: str) -> str | None:
    """The verb's module; None if the word belongs to a run."""
    if re.fullmatch("[a-z]+", word) and word not in VERBS:
        raise UserError(f"{word}: there is no verb '{word}'{suggestion(word, VERBS)}; a run begins with +model=NAME")
    return VERBS.get(word)


def _parse(typed: Sequence[str]) -> argparse.Namespace:
    """Hydra's own flags, and the overrides, which may stand anywhere between them."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.prog = "python -m orchestrator"
    parser.add_argument("--json", action="store_true", help="with plan=true: print the plan for a script")
    return parser.parse_intermixed_args(typed)


@dataclass(frozen=True)
class _Order:
    """What the user asked for, accepted."""

    spec: RunSpec
    configs: Mapping[str, str]
    """YAML for `.hydra/`, by file name."""


def _read(arguments: argparse.Namespace) -> _Order:
    from orchestrator.config import hydra_files, load

    _refuse_what_has_no_effect(arguments)
    ours = [override for override in arguments.overrides if not _is_hydras(override)]
    batches: list[tuple[Batch, DictConfig]] = []

    def compose(composer: Composer) -> None:
        batches.append((composer.batch(ours), composer.primary))

    _compose_with_hydra([*_hydra_arguments(arguments)], compose)
    ((batch, primary),) = batches
    return _Order(load(batch), hydra_files(batch, primary))


def _compose_with_hydra(arguments: Sequence[str], task: Callable[[Any], None]) -> None:
    """Starts Hydra; what it complains about is what was typed or written, so it becomes a UserError."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    from orchestrator.config import explain

    try:
        with _exceptions_come_through():
            _start_hydra(arguments, task)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        if "HYDRA_FULL_ERROR" in os.environ:
            raise
        raise UserError(explain(error, "the configuration")) from error


def _refuse_what_has_no_effect(arguments: argparse.Namespace) -> None:
    problems = [f"--{flag.replace('_', '-')}: {why}" for flag, why in _NO_EFFECT.items() if getattr(arguments, flag)]
    for override in filter(_is_hydras, arguments.overrides):
        if _key(override) not in HYDRA_KEYS:
            reason = "the orchestrator has its own sweeper and launcher, and every run is a batch"
            problems.append(f"{override}: {reason}; of Hydra's keys only {' and '.join(HYDRA_KEYS)} have an effect")
    if problems:
        raise UserError(*problems)


_NO_EFFECT = {
    "config_path": "the folder of the orchestrator's own configs is always needed; add yours with --config-dir",
    "experimental_rerun": "a run is repeated by its command line",
    "package": "has an effect with --cfg only",
    "resolve": "has an effect with --cfg only",
}
"""Flags of Hydra, and what to tell those who give them."""


def _is_hydras(override: str) -> bool:
    return re.match(r"hydra([./=]|$)", _key(override)) is not None


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _hydra_arguments(arguments: argparse.Namespace) -> Iterator[str]:
    """What Hydra itself gets to see: where configs are, and its own keys.

    Our overrides go around it. In its first pass it would refuse keys of groups that are swept, and it would let a model's file
    configure callbacks and logging, which run code, before anyone could look at it.
    """
    for flag in ("config_dir", "config_name"):
        if value := getattr(arguments, flag):
            yield f"--{flag.replace('_', '-')}={value}"
    yield from ("--multirun", "hydra/sweeper=orchestrator")
    yield from filter(_is_hydras, arguments.overrides)


def _start_hydra(arguments: Sequence[str], task: Callable[[Any], None]) -> None:
    import hydra

    from orchestrator.structured import register

    register()
    typed, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        hydra.main(config_path=str(_conf_folder()), config_name="config", version_base="1.3")(task)()
    finally:
        sys.argv = typed


def _nothing(_: Any) -> None:
    """The task of those of Hydra's commands that have none."""


def _conf_folder() -> Path:
    """Beside the package in the source tree, inside it in a wheel."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


@contextmanager
def _exceptions_come_through() -> Iterator[None]:
    """Hydra prints what it catches and exits with 1, unless it is told to raise; the user's own wish stays as it is."""
    wish = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if wish is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = wish


if __name__ == "__main__":
    sys.exit(main())
