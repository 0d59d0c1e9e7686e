"""Modules as files: where their source lies and which names its top level binds, read by parsing.

Nothing is imported. Not looked at: bodies of functions, and `__all__`, which decorators may change (timm).
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_DYNAMIC = (b"__getattr__", b"sys.modules[", b"globals()", b"setattr(")


@dataclass(frozen=True, slots=True)
class Module:
    """A module on disk."""

    name: str
    file: Path | None
    """Its source; None for a namespace package or a compiled module."""
    folders: tuple[Path, ...] = ()
    """Where its submodules are, if it is a package."""
    compiled: bool = False

    def absolute(self, level: int, name: str | None) -> str:
        """The module that `from <level dots><name> import …` means in this one."""
        parts = self.name.split(".") if level else []
        up = level - 1 if self.folders else level
        kept = parts[: len(parts) - up]
        return ".".join([*kept, *([name] if name else [])])


@dataclass(frozen=True, slots=True)
class Binding:
    """One statement that binds a name; with no field set only running it would tell what."""

    node: ast.stmt | None = None
    """A `def` or `class`."""
    module: str | None = None
    """An import: the module, and `attribute` in it if one is named."""
    attribute: str | None = None
    alias: str | None = None
    """`name = other.thing`: the right side, to be looked up in the same module."""


@dataclass(slots=True)
class Names:
    """What the top level of a module binds."""

    bound: dict[str, list[Binding]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    """Modules that `import *` takes from."""
    dynamic: bool = False
    """Names may appear that no statement binds: a module `__getattr__`, `globals()`, `setattr`, another module in its place."""


def find(name: str) -> Module | None:
    """The module of a dotted name, or None if there is no such file."""
    top, *rest = name.split(".")
    module = _top_level(top)
    for part in rest:
        module = submodule(module, part) if module else None
    return module


def folder_of(package: str) -> Path | None:
    """Where an import package lies, found without importing it; None if it is not installed."""
    found = find(package)
    return found.folders[0] if found and found.folders else None


@functools.cache
def submodule(module: Module, name: str) -> Module | None:
    """A package's submodule of that name, or None."""
    full = f"{module.name}.{name}"
    for folder in module.folders:
        package = folder / name
        if (package / "__init__.py").is_file():
            return Module(full, package / "__init__.py", (package,))
        if (folder / f"{name}.py").is_file():
            return Module(full, folder / f"{name}.py")
        if any(folder.glob(f"{name}.*.so")) or any(folder.glob(f"{name}.*.pyd")):
            return Module(full, None, compiled=True)
        if package.is_dir():
            return Module(full, None, (package,))
    return None


@functools.cache
def names(module: Module) -> Names:
    """Parses a module's source; one without source binds nothing."""
    if module.file is None:
        return Names()
    text = _text(module.file)
    found = Names(dynamic=any(mark in text for mark in _DYNAMIC))
    try:
        tree = ast.parse(text, str(module.file))
    except (SyntaxError, ValueError):
        # Importing it will fail, with a better message than we could give.
        return Names(dynamic=True)
    for statement in _statements(tree.body):
        _read(statement, module, found)
    return found


def may_bind(module: Module, name: str) -> bool:
    """Whether the source mentions the name or takes all names from elsewhere; far cheaper than parsing it."""
    text = _text(module.file) if module.file else b""
    return name.encode() in text or b"import *" in text


@functools.cache
def _text(file: Path) -> bytes:
    return file.read_bytes()


@functools.cache
def _top_level(name: str) -> Module | None:
    # For a name without a dot find_spec imports nothing.
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:
        return None
    if spec is None:
        return None
    folders = tuple(Path(folder) for folder in spec.submodule_search_locations or ())
    file = Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    return Module(name, file, folders, compiled=file is None and not folders)


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run at import, those inside `if`, `try`, `with` and loops included."""
    for statement in body:
        yield statement
        match statement:
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                yield from _statements(statement.orelse)
            case ast.If() | ast.For() | ast.While():
                yield from _statements([*statement.body, *statement.orelse])
            case ast.With():
                yield from _statements(statement.body)
            case ast.Try():
                handlers = [item for handler in statement.handlers for item in handler.body]
                yield from _statements([*statement.body, *handlers, *statement.orelse, *statement.finalbody])
            case _:
                pass


def _read(statement: ast.stmt, module: Module, found: Names) -> None:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            _bind(found, name, Binding(node=statement))
        case ast.Import(names=aliases):
            for item in aliases:
                # `import a.b` binds a, `import a.b as c` binds a.b.
                top = item.name.partition(".")[0]
                _bind(found, item.asname or top, Binding(module=item.name if item.asname else top))
        case ast.ImportFrom(names=aliases):
            _read_import_from(statement, module.absolute(statement.level, statement.module), found)
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                _read_assignment(target, value, found)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            _read_assignment(target, value, found)
        case _:
            pass


def _read_import_from(statement: ast.ImportFrom, module: str, found: Names) -> None:
    for item in statement.names:
        if item.name == "*":
            found.stars.append(module)
        else:
            _bind(found, item.asname or item.name, Binding(module=module, attribute=item.name))


def _read_assignment(target: ast.expr, value: ast.expr, found: Names) -> None:
    match target:
        case ast.Name(id=name):
            _bind(found, name, Binding(alias=_dotted(value)))
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            for element in elements:
                _read_assignment(element, ast.Constant(None), found)
        case _:
            pass


def _dotted(value: ast.expr) -> str | None:
    """`a.b.c` as text; None for anything else."""
    if isinstance(value, ast.Name):
        return value.id
    base = _dotted(value.value) if isinstance(value, ast.Attribute) else None
    return f"{base}.{value.attr}" if base and isinstance(value, ast.Attribute) else None


def _bind(found: Names, name: str, binding: Binding) -> None:
    found.bound.setdefault(name, []).append(binding)
