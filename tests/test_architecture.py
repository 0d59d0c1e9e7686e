"""The rules of the structure, as tests: one direction, one door a heavy library, no cycles, small functions, mirrored tests."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("orchestrator", "exporters", "hydra_plugins")
DOORS = {
    "hydra": ("orchestrator/config.py", "orchestrator/structured.py", "orchestrator/__main__.py", "hydra_plugins/"),
    "omegaconf": ("orchestrator/config.py", "orchestrator/__main__.py", "hydra_plugins/"),
    "ray": ("orchestrator/schedulers/",),
    "torch": ("exporters/", "orchestrator/build/", "orchestrator/zoo/", "orchestrator/verify/"),
    "onnxruntime": ("orchestrator/verify/",),
}
FOUNDATION = ("orchestrator/errors.py", "orchestrator/result.py", "orchestrator/spec.py")
LONGEST_FUNCTION = 60
"""Lines without the docstring; the models that this project learns from keep 99 % of their functions below 94."""


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted(path for path in (ROOT / package).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of all imports, inside functions too; those under TYPE_CHECKING cost nothing and are left out."""
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        todo.extend(ast.iter_child_nodes(node))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("library", DOORS)
def test_a_heavy_library_has_one_door(library: str) -> None:
    users = {relative(p) for p in modules() if any(name.split(".")[0] == library for name in imported(parsed(p)))}
    assert {user for user in users if not user.startswith(DOORS[library])} == set()


def test_exporters_know_nothing_of_the_orchestrator() -> None:
    strays = {relative(p) for p in (ROOT / "exporters").rglob("*.py") if any("orchestrator" in n for n in imported(parsed(p)))}
    assert strays == set()


def test_the_foundation_imports_nothing_above_it() -> None:
    allowed = {"orchestrator.errors", "orchestrator.result", "orchestrator.spec", "exporters.base"}
    for path in FOUNDATION:
        ours = {n for n in imported(parsed(ROOT / path)) if n.split(".")[0] in PACKAGES}
        assert {n for n in ours if not n.startswith(tuple(allowed))} == set(), path


def import_graph() -> dict[str, set[str]]:
    paths = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in modules()}
    return {name: {n for n in imported(parsed(p)) if n in paths and n != name} for name, p in paths.items()}


def test_no_module_can_reach_itself() -> None:
    graph = import_graph()

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        todo = list(graph[start])
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo.extend(graph[name])
        return seen

    assert [name for name in graph if name in reachable(name)] == []


def functions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node, clean=False) is not None:
                length -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            yield length, node.name


def test_no_function_is_longer_than_a_screen() -> None:
    long = [(relative(p), name, n) for p in modules() for n, name in functions(parsed(p)) if n > LONGEST_FUNCTION]
    assert long == []


def test_every_module_has_a_test_of_its_name() -> None:
    tested = {path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    missing = []
    for path in modules():
        parts = path.relative_to(ROOT).parts
        inside = parts[1:] if parts[0] == "orchestrator" else parts
        expected = "/".join((*inside[:-1], f"test_{path.stem.strip('_')}.py"))
        if path.stem != "__init__" and expected not in tested:
            missing.append(f"{relative(path)} -> tests/{expected}")
    assert missing == []


@pytest.mark.parametrize(
    "module",
    [
        *("config", "plan", "report.terminal", "store.blobs", "build.trust"),
        *("commands.run", "commands.verify", "commands.init", "commands.report", "commands.audit"),
    ],
)
def test_planning_and_reports_import_neither_torch_nor_ray(module: str) -> None:
    code = f"import sys, orchestrator.{module}; print(sorted({{'torch', 'ray', 'onnxruntime'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_lock_file_pins_and_hashes_everything_and_names_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    requirements = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert all(re.match(r"[\w.\-\[\]]+==[^ ]+", line) for line in requirements)
    assert lock.count("--hash=sha256:") >= len(requirements)
    assert "://" not in lock
