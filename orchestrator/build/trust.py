"""What a configuration may call: decided on the path and by parsing where that is possible, else on the imported object.

`problems` is for the driver, which imports nothing; `resolve` is for the child, which looks at the object before it calls it.
Not covered: what trusted code itself does when it is called with arguments that it accepts.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any

from orchestrator.build.locate import Kind, Place, locate
from orchestrator.spec import BuildSpec

TARGET = "_target_"
"""The key that makes a mapping in the arguments a node of its own."""

TRUSTED = (
    "torchvision.models.[!_]*",
    "timm.models.[!_]*",
    "timm.models._factory.create_model",
    "transformers.models.*.modeling_*.*",
    "transformers.models.*.configuration_*.*",
    "khmer_ocr_ocm.model.*",
    "torch.nn.modules.*",
    "orchestrator.zoo.*",
)
"""Matched against an object's own module and qualified name. Narrower than the packages: their loaders of files stay out."""

ZOO_PACKAGES = frozenset({"torchvision", "timm", "transformers", "khmer_ocr_ocm"})
"""Packages that the extra `zoo` installs."""

_HARMLESS = {"trust_remote_code": (None, False), "weights_only": (None, True), "checkpoint_path": (None, "")}
"""Arguments that make a library execute code or read an unchecked file, with the values for which it does not."""
_SOURCES = ("hf-hub:", "hf_hub:", "local-dir:", "://")
"""Marks of names that timm and others fetch or read from elsewhere."""


class UntrustedError(Exception):
    """A target or an argument that a configuration may not use; nothing of it was called."""


def problems(build: BuildSpec, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """All that is wrong with a build as far as it can be told without importing, nested nodes included; one line each.

    Args:
        build: As declared in the model's configuration.
        patterns: The user's own patterns; they are added to `TRUSTED`.
    """
    found = [static_problem(target, patterns) for target in targets(build)]
    found.append(argument_problem(build.arguments, build.target))
    return tuple(dict.fromkeys(problem for problem in found if problem))


def targets(build: BuildSpec) -> tuple[str, ...]:
    """The target of a build and those of all nodes in its arguments."""
    return (build.target, *_nested_targets(build.arguments))


def static_problem(target: str, patterns: tuple[str, ...]) -> str | None:
    """Says in one line why a target is refused, or None if it is trusted or only the imported object can tell.

    Args:
        target: Dotted path as written in the configuration.
        patterns: The user's own patterns; they are added to `TRUSTED`.
    """
    trusted = (*TRUSTED, *patterns)
    if problem := _spelling_problem(target) or _path_problem(target, trusted):
        return problem
    verdicts = [_place_problem(target, place, trusted) for place in locate(target, lambda top: _may_import(top, trusted))]
    return None if None in verdicts else verdicts[0]


def argument_problem(arguments: Mapping[str, Any], target: str = "") -> str | None:
    """Says in one line which argument would fetch or execute, or None; nodes inside lists and mappings are looked at too.

    There is no digest for what a library fetches by itself, so pretrained weights come in through `weights:`, which has one.

    Args:
        arguments: Keyword arguments of the target, nodes with a `_target_` of their own not yet built.
        target: What they are given to.
    """
    return next(_argument_problems(arguments, target), None)


def resolve(target: str, patterns: tuple[str, ...]) -> Any:
    """Imports a target and returns it if the object itself is trusted, whatever the name under which it was found.

    Args:
        target: Dotted path as written in the configuration.
        patterns: The user's own patterns; they are added to `TRUSTED`.

    Raises:
        UntrustedError: The path or the object is not trusted; what is not trusted was not imported for it.
        AttributeError: A trusted module has no such name.
        ImportError: A trusted module cannot be imported.
    """
    trusted = (*TRUSTED, *patterns)
    if problem := _spelling_problem(target) or _path_problem(target, trusted):
        raise UntrustedError(problem)
    top, *parts = target.split(".")
    found: Any = importlib.import_module(top)
    for part in parts:
        found = _step(found, part, trusted)
    if problem := _object_problem(target, found, trusted):
        raise UntrustedError(problem)
    return found


def _nested_targets(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if TARGET in value:
            yield str(value[TARGET])
        for item in value.values():
            yield from _nested_targets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _nested_targets(item)


def _spelling_problem(target: str) -> str | None:
    parts = target.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        return f"{target!r} is no dotted path of a class or function, such as torchvision.models.resnet50"
    if hidden := [part for part in parts if part.startswith("_")]:
        return f"`{target}` is refused: `{hidden[0]}` is private, and what is private is never called from a configuration"
    return _fetching_problem(target, target)


def _fetching_problem(target: str, own: str) -> str | None:
    if own.startswith("torch.hub.") or any(part.islower() and "pretrained" in part for part in own.split(".")):
        return f"`{target}` is refused: `{own}` fetches; build the model without weights and declare them in `weights:`"
    return None


def _path_problem(target: str, trusted: tuple[str, ...]) -> str | None:
    """Refuses a path for which a package would be imported that nobody trusts."""
    top = target.partition(".")[0]
    return None if _may_import(top, trusted) else _untrusted(target, target, trusted)


def _place_problem(target: str, place: Place, trusted: tuple[str, ...]) -> str | None:
    match place.kind:
        case Kind.BOUND | Kind.FOREIGN:
            return _own_problem(target, place.path, trusted)
        case Kind.UNKNOWN:
            return None
        case Kind.MODULE:
            return f"`{target}` is a module; a class or function in it was expected"
        case Kind.MISSING:
            return f"`{target}` does not exist{_did_you_mean(place.near)}"
        case Kind.NOT_INSTALLED:
            return _not_installed(target, place.path)


def _own_problem(target: str, own: str, trusted: tuple[str, ...]) -> str | None:
    """Judges an object by the path under which it was defined."""
    if problem := _fetching_problem(target, own):
        return problem
    return None if _matches(own, trusted) else _untrusted(target, own, trusted)


def _did_you_mean(near: tuple[str, ...]) -> str:
    return f"; near names: {', '.join(near)}" if near else ""


def _not_installed(target: str, package: str) -> str:
    extra = "; it comes with the extra `zoo`: pip install 'onnx-batch-exporter[zoo]'" if package in ZOO_PACKAGES else ""
    return f"`{target}` cannot be built: the package `{package}` is not installed{extra}"


def _untrusted(target: str, own: str, trusted: tuple[str, ...]) -> str:
    origin = "" if own == target else f": it is `{own}`"
    package = own.rpartition(".")[0]
    known = own.partition(".")[0] in {*sys.stdlib_module_names, *ZOO_PACKAGES, "torch"}
    example = "mypkg.models" if known else package
    return (
        f"`{target}` is not trusted{origin}. Trusted are {', '.join(trusted)}; "
        f"if you trust its code, add its pattern on the command line or in the primary config, as in 'trust=[{example}.*]'"
    )


def _matches(path: str, trusted: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in trusted)


def _may_import(module: str, trusted: tuple[str, ...]) -> bool:
    """Whether a module is trusted itself, or is a parent that importing something trusted runs anyway."""
    return _matches(module, trusted) or any(_is_parent(module, pattern) for pattern in trusted)


def _is_parent(module: str, pattern: str) -> bool:
    parts, wanted = module.split("."), pattern.split(".")
    return len(parts) < len(wanted) and all(map(fnmatchcase, parts, wanted))


def _step(found: Any, part: str, trusted: tuple[str, ...]) -> Any:
    """One component of a path: an attribute, or a submodule that has yet to be imported."""
    try:
        return getattr(found, part)
    except AttributeError:
        if not isinstance(found, ModuleType):
            raise
    name = f"{found.__name__}.{part}"
    if not hasattr(found, "__path__") or importlib.util.find_spec(name) is None:
        near = _did_you_mean(tuple(difflib.get_close_matches(part, dir(found))))
        raise AttributeError(f"`{found.__name__}` has no `{part}`{near}")
    if not _may_import(name, trusted):
        raise UntrustedError(_untrusted(name, name, trusted))
    return importlib.import_module(name)


def _object_problem(target: str, found: Any, trusted: tuple[str, ...]) -> str | None:
    module, name = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    if not callable(found) or not isinstance(module, str) or not isinstance(name, str):
        return f"`{target}` is refused: it is no class or function, but a {type(found).__name__}"
    return _own_problem(target, f"{module}.{name}", trusted)


def _argument_problems(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        where = str(value.get(TARGET, where))
        if _fetches_a_backbone(where) and "weights_backbone" not in value:
            yield f"{where}: fetches weights for its backbone unless told otherwise; write `weights_backbone: null`"
        for key, item in value.items():
            if key != TARGET:
                yield from _named_problems(str(key), item, where)
                yield from _argument_problems(item, where)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _argument_problems(item, where)
    elif isinstance(value, str) and any(mark in value for mark in _SOURCES):
        yield f"{where}: `{value}` would be fetched or read from elsewhere; declare weights in `weights:`, with their sha256"


def _fetches_a_backbone(target: str) -> bool:
    parts = target.split(".")
    return parts[:2] == ["torchvision", "models"] and bool({"detection", "segmentation"} & {*parts}) and parts[-1].islower()


def _named_problems(key: str, value: Any, where: str) -> Iterator[str]:
    declare = "declare the file in `weights:`, with its sha256, and leave this out"
    if key.startswith("_"):
        yield f"{where}: `{key}` is no argument; the only key with an underscore in front is {TARGET}"
    elif key in _HARMLESS and value not in _HARMLESS[key]:
        yield f"{where}: `{key}: {value}` may execute code or read a file without a digest; {declare}"
    elif "pretrained" in key and value:
        yield f"{where}: `{key}: {value}` fetches weights; {declare}"
    elif where.startswith("torchvision.") and key.startswith("weights") and value is not None:
        yield f"{where}: `{key}: {value}` fetches weights; write `{key}: null` and declare a file in `weights:`"
    elif key.endswith("_implementation") and "/" in str(value):
        yield f"{where}: `{key}: {value}` fetches code from a hub; name one that is built in, such as eager or sdpa"
