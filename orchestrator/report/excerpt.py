"""Copies definitions out of the project's own sources, with all that they need, so that a script can stand alone.

Reads the files and imports none of them. Not covered: imports inside functions, names reached through a module of ours.
"""

from __future__ import annotations

import ast
import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.build import sources

OURS = ("orchestrator", "exporters")


@dataclass(frozen=True, kw_only=True, slots=True)
class Excerpt:
    """Source text that runs by itself after `from __future__ import annotations`."""

    imports: tuple[str, ...]
    """Statements of one name each."""
    definitions: tuple[str, ...]
    """In an order in which what is needed at definition comes first."""


@functools.cache
def excerpt(*wanted: str) -> Excerpt:
    """Copies definitions.

    Args:
        wanted: Dotted paths of functions, classes or constants at the top level of a module of ours.
    """
    copying = _Copying()
    for path in wanted:
        copying.take(*path.rsplit(".", 1))
    return Excerpt(imports=tuple(sorted(copying.imports)), definitions=tuple(copying.definitions))


def import_block(statements: Iterable[str]) -> str:
    """Statements of one name each as they stand at the head of a script: whole modules first, then one line a module."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for statement in statements:
        module, _, name = statement.removeprefix("from ").partition(" import ")
        names[module].update({name} - {""})
    whole = [module for module in sorted(names) if module.startswith("import ")]
    return "\n".join(
        [*whole, *(f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names) if names[module])]
    )


class _Copying:
    """What has been copied so far."""

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.definitions: list[str] = []
        self.names: set[str] = set()
        self._open: set[tuple[str, str]] = set()

    def take(self, module: str, name: str) -> None:
        """Copies one definition after those that it names; functions that name each other come in the order of their calls."""
        if (module, name) in self._open:
            return
        self._open.add((module, name))
        statement, text = _definition(module, name)
        if isinstance(statement, ast.Import | ast.ImportFrom):
            self._follow(statement, name)
            return
        for used in _names(statement):
            if used in _top_level(module):
                self.take(module, used)
        assert name not in self.names, f"{name} of {module} is also the name of something else that is copied"
        self.names.add(name)
        self.definitions.append(text)

    def _follow(self, statement: ast.Import | ast.ImportFrom, name: str) -> None:
        item = next(item for item in statement.names if (item.asname or item.name.partition(".")[0]) == name)
        if isinstance(statement, ast.ImportFrom) and str(statement.module).partition(".")[0] in OURS:
            self.take(str(statement.module), item.name)
        elif isinstance(statement, ast.ImportFrom):
            self.imports.add(f"from {statement.module} import {ast.unparse(item)}")
        else:
            self.imports.add(f"import {ast.unparse(item)}")


def _definition(module: str, name: str) -> tuple[ast.stmt, str]:
    statement = _top_level(module)[name]
    first = min([statement.lineno, *(item.lineno for item in getattr(statement, "decorator_list", ()))])
    return statement, "\n".join(_lines(module)[first - 1 : statement.end_lineno])


@functools.cache
def _lines(module: str) -> list[str]:
    found = sources.find(module)
    assert found is not None and found.file is not None, f"{module} has no source"
    return found.file.read_text("utf-8").splitlines()


@functools.cache
def _top_level(module: str) -> dict[str, ast.stmt]:
    """Statements by the names that they bind."""
    tree = ast.parse("\n".join(_lines(module)))
    return {name: statement for statement in _statements(tree.body) for name in _bound(statement)}


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The top level, with what is imported for annotations only: here the annotations have to be importable."""
    for statement in body:
        yield from _statements(statement.body) if isinstance(statement, ast.If) else [statement]


def _bound(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=items) | ast.ImportFrom(names=items):
            yield from (item.asname or item.name.partition(".")[0] for item in items)
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case _:
            pass


def _names(statement: ast.stmt) -> list[str]:
    """Names that a statement uses, in the order of first use."""
    return list(dict.fromkeys(node.id for node in ast.walk(statement) if isinstance(node, ast.Name)))
