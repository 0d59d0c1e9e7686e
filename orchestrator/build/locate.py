"""Where a dotted path is bound, found by parsing: nothing of the code that is looked at runs.

Follows `from x import y`, star imports, plain aliases and submodules through the sources. What only running the code could tell
(lazy modules, calls, compiled modules, inherited attributes) is reported as unknown, never guessed.
"""

from __future__ import annotations

import ast
import difflib
import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestrator.build import sources
from orchestrator.build.sources import Binding, Module


class Kind(enum.Enum):
    """What a dotted path turned out to be."""

    BOUND = enum.auto()
    """Defined by `def` or `class`: the place's path is the object's own."""
    FOREIGN = enum.auto()
    """Comes from a package that is not to be followed."""
    MODULE = enum.auto()
    """A module, nothing that could be called."""
    MISSING = enum.auto()
    """No source binds it."""
    NOT_INSTALLED = enum.auto()
    """The package is not there; the path is its name."""
    UNKNOWN = enum.auto()
    """Only running the code would tell."""


@dataclass(frozen=True, slots=True)
class Place:
    """One place where a dotted path may be bound."""

    kind: Kind
    path: str
    near: tuple[str, ...] = ()
    """For a missing name: names that are there and look alike."""


def locate(target: str, follow: Callable[[str], bool]) -> tuple[Place, ...]:
    """Lists the places where the target may be bound: several where branches or star imports bind it more than once.

    Args:
        target: Dotted path with at least one dot.
        follow: Says of a top-level package whether an import from it is to be followed.
    """
    top, *parts = target.split(".")
    module = sources.find(top)
    if module is None:
        return (Place(Kind.NOT_INSTALLED, top),)
    return tuple(dict.fromkeys(_Walk(follow).inside(module, parts)))


class _Walk:
    """One search; it remembers where it was, so that imports in a circle end."""

    def __init__(self, follow: Callable[[str], bool]) -> None:
        self._follow = follow
        self._seen: set[tuple[str, str]] = set()

    def inside(self, module: Module, parts: list[str]) -> Iterator[Place]:
        """Looks the parts up as Python would: what the module binds, then what star imports bring, then a submodule."""
        if not parts:
            yield Place(Kind.MODULE, module.name)
        elif module.compiled:
            yield Place(Kind.UNKNOWN, ".".join([module.name, *parts]))
        elif (module.name, parts[0]) in self._seen:
            # `from . import x` in the package itself, or star imports in a circle.
            yield from self._submodule(module, parts)
        else:
            self._seen.add((module.name, parts[0]))
            places = self._bound(module, parts) or self._starred(module, parts)
            yield from places or self._submodule(module, parts)

    def _bound(self, module: Module, parts: list[str]) -> list[Place]:
        bindings = sources.names(module).bound.get(parts[0], ())
        return [place for binding in bindings for place in self._through(binding, module, parts)]

    def _through(self, binding: Binding, module: Module, parts: list[str]) -> Iterator[Place]:
        if binding.module is not None:
            yield from self._imported(binding.module, [*([binding.attribute] if binding.attribute else []), *parts[1:]])
        elif binding.alias is not None:
            yield from self.inside(module, [*binding.alias.split("."), *parts[1:]])
        elif binding.node is not None:
            yield _defined(binding.node, f"{module.name}.{parts[0]}", parts[1:])
        else:
            yield Place(Kind.UNKNOWN, ".".join([module.name, *parts]))

    def _imported(self, name: str, parts: list[str]) -> Iterator[Place]:
        path = ".".join([name, *parts])
        if not self._follow(name.partition(".")[0]):
            yield Place(Kind.FOREIGN, path)
        elif (module := sources.find(name)) is None:
            yield Place(Kind.UNKNOWN, path)
        else:
            yield from self.inside(module, parts)

    def _starred(self, module: Module, parts: list[str]) -> list[Place]:
        places = []
        for star in self._star_modules(module):
            if sources.may_bind(star, parts[0]):
                places += [place for place in self.inside(star, parts) if place.kind is not Kind.MISSING]
        return places

    def _submodule(self, module: Module, parts: list[str]) -> Iterator[Place]:
        names, path = sources.names(module), ".".join([module.name, *parts])
        if (inner := sources.submodule(module, parts[0])) is not None:
            yield from self.inside(inner, parts[1:])
        elif names.dynamic or len(self._star_modules(module)) < len(names.stars):
            yield Place(Kind.UNKNOWN, path)
        else:
            yield Place(Kind.MISSING, path, tuple(difflib.get_close_matches(parts[0], self._visible(module))))

    def _star_modules(self, module: Module) -> list[Module]:
        """The modules that this one takes all names from, as far as they are followed and have a source."""
        stars = (star for star in sources.names(module).stars if self._follow(star.partition(".")[0]))
        return [found for star in stars if (found := sources.find(star)) is not None and not found.compiled]

    def _visible(self, module: Module) -> list[str]:
        """Public names of a module, for a message."""
        starred = (name for star in self._star_modules(module) for name in sources.names(star).bound)
        files = (file.stem for folder in module.folders for file in folder.glob("*.py"))
        return sorted(name for name in {*sources.names(module).bound, *starred, *files} if not name.startswith("_"))


def _defined(node: ast.stmt, path: str, parts: list[str]) -> Place:
    """A `def` or `class`, or what the body of the class defines."""
    for part in parts:
        inner = [item for item in node.body if _is_called(item, part)] if isinstance(node, ast.ClassDef) else []
        path = f"{path}.{part}"
        if not inner:
            return Place(Kind.UNKNOWN, path)
        node = inner[-1]
    return Place(Kind.BOUND, path)


def _is_called(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name
