"""The source closure of a module: all first-party modules that importing and running it may import, by their bytes.

Found by parsing; nothing is imported. Not found is what only running the code would tell (importlib.import_module, a name in a
configuration), and files that the code reads by itself: they are in no key.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.build import sources
from orchestrator.build.sources import Module
from orchestrator.keys.digests import FileDigests, of_value
from orchestrator.keys.packages import Packages

PROJECT = ("orchestrator", "exporters")
"""First-party also where it is installed; the packages' own `__init__`, of which one holds the version, are left out."""
NOT_FOLLOWED = ("torch", "onnx", "onnx_ir", "onnxscript", "numpy")
"""Tools that version and build stand for, wherever they lie: a torch that was built in place has thousands of modules."""
INSTALLED = ("site-packages", "dist-packages")
STDLIB = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Closure:
    """The code that a target stands for."""

    modules: Mapping[str, str]
    """First-party module → SHA-256 of its file."""
    packages: frozenset[str]
    """Top-level import packages that are installed and used."""


@dataclass(frozen=True, slots=True)
class _Source:
    """What one module adds to a closure."""

    digest: str | None
    """None for what is left out."""
    imports: tuple[str, ...] = ()
    """Dotted names; of `from a import b` both a and a.b."""


class Closures:
    """Finds closures; a module that several of them share is read and parsed once."""

    def __init__(self, files: FileDigests, packages: Packages) -> None:
        self._files, self._packages = files, packages
        self._sources: dict[str, _Source] = {}
        self._closures: dict[str, Closure] = {}

    def of(self, target: str) -> Closure:
        """The closure of the modules on a dotted path, the packages around them included: importing it runs them all.

        Args:
            target: Of a module, or of something in one.
        """
        if target not in self._closures:
            self._closures[target] = self._walk(target)
        return self._closures[target]

    def _walk(self, target: str) -> Closure:
        modules: dict[str, str] = {}
        seen, packages, todo = {target}, set(), [target]
        while todo:
            for module in _on_path(todo.pop()):
                if module.file is None and not module.compiled:
                    continue  # A namespace has no code, and may have parts among the installed and among ours.
                if not self._is_first_party(module):
                    packages.add(_top(module))
                    break
                source = self._source(module)
                if source.digest is not None:
                    modules[module.name] = source.digest
                todo += [name for name in source.imports if name not in seen]
                seen.update(source.imports)
        return Closure(modules=modules, packages=frozenset(packages - sys.stdlib_module_names))

    def _is_first_party(self, module: Module) -> bool:
        top = _top(module)
        if top in PROJECT or top in NOT_FOLLOWED:
            return top in PROJECT
        places = [module.file] if module.file else _compiled_files(module)
        if any(part in INSTALLED for place in places for part in place.parts):
            return not self._packages.of_import(top)
        return bool(places) and not any(place.is_relative_to(folder) for place in places for folder in STDLIB)

    def _source(self, module: Module) -> _Source:
        if module.name not in self._sources:
            self._sources[module.name] = _Source(None) if module.name in PROJECT else self._read(module)
        return self._sources[module.name]

    def _read(self, module: Module) -> _Source:
        if module.file is None:
            # There may be one for each version of Python.
            return _Source(of_value({file.name: self._files.of(file) for file in _compiled_files(module)}))
        digest = self._files.of(module.file)
        return _Source(digest, tuple(dict.fromkeys(_imports(module.file.read_bytes(), module))))


def _top(module: Module) -> str:
    return module.name.partition(".")[0]


def _on_path(name: str) -> Iterator[Module]:
    """The modules on a dotted path from the top-level one on, as far as there are any."""
    top, *rest = name.split(".")
    module = sources.find(top)
    while module is not None:
        yield module
        module = sources.submodule(module, rest.pop(0)) if rest else None


def _compiled_files(module: Module) -> list[Path]:
    """The library that a compiled module is; none for one that is built into the interpreter."""
    if not module.compiled:
        return []
    parent, _, leaf = module.name.rpartition(".")
    if not parent:
        spec = importlib.util.find_spec(leaf)
        return [Path(spec.origin)] if spec and spec.has_location and spec.origin else []
    package = sources.find(parent)
    folders = package.folders if package else ()
    return sorted(file for folder in folders for suffix in ("so", "pyd") for file in folder.glob(f"{leaf}.*.{suffix}"))


def _imports(text: bytes, module: Module) -> Iterator[str]:
    """Names of all imports, those inside functions too; what is imported for type checkers only never runs."""
    try:
        todo: list[ast.AST] = [ast.parse(text)]
    except (SyntaxError, ValueError):
        return  # Importing it will fail, and the digest of its bytes is in the key.
    while todo:
        node = todo.pop()
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(names=names):
                yield from _imported_from(module.absolute(node.level, node.module), (alias.name for alias in names))
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                todo += node.orelse
            case _:
                todo += ast.iter_child_nodes(node)


def _imported_from(module: str, names: Iterable[str]) -> Iterator[str]:
    if module:
        yield module
        yield from (f"{module}.{name}" for name in names)
