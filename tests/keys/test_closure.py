from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.keys import packages
from orchestrator.keys.closure import Closure, Closures
from orchestrator.keys.digests import FileDigests
from orchestrator.keys.packages import Packages

numbers = itertools.count()


class Tree:
    """First-party modules in a package with a name of its own, which `{p}` stands for."""

    def __init__(self, folder: Path) -> None:
        # Where modules are is remembered for the life of the process.
        self.folder, self.name = folder, f"closed{next(numbers)}"

    def write(self, files: Mapping[str, str]) -> None:
        for path, text in files.items():
            file = self.folder / self.name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.replace("{p}", self.name))

    def closure(self, target: str) -> Closure:
        return Closures(FileDigests(), Packages()).of(f"{self.name}.{target}")

    def modules(self, target: str) -> set[str]:
        return {name.removeprefix(self.name).removeprefix(".") for name in self.closure(target).modules}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.syspath_prepend(tmp_path)
    return Tree(tmp_path)


@pytest.mark.parametrize(
    "statement",
    [
        "import {p}.used",
        "import {p}.used as u",
        "from {p} import used",
        "from {p}.used import thing",
        "from {p}.used import *",
        "from . import used",
        "from .used import thing",
        "def f():\n    from .used import thing",
        "class C:\n    def f(self):\n        if self:\n            import {p}.used",
        "try:\n    import missing\nexcept ImportError:\n    from .used import thing",
        "if TYPE_CHECKING:\n    pass\nelse:\n    from .used import thing",
        "from .passes_on import thing",
    ],
)
def test_what_a_module_imports_counts(tree: Tree, statement: str) -> None:
    tree.write(
        {"__init__.py": "", "net.py": statement, "used.py": "", "unused.py": "", "passes_on.py": "from .used import thing"}
    )
    assert {"", "net", "used"} <= tree.modules("net.Net") <= {"", "net", "used", "passes_on"}


@pytest.mark.parametrize(
    "statement",
    [
        "if TYPE_CHECKING:\n    from .used import thing",
        "if typing.TYPE_CHECKING:\n    from .used import thing",
        "importlib.import_module('{p}.used')",
        "from ....used import thing",
        "from .missing import thing",
        "this is no python from .used import thing",
    ],
)
def test_what_never_runs_or_only_running_would_tell_does_not_count(tree: Tree, statement: str) -> None:
    tree.write({"__init__.py": "", "net.py": statement, "used.py": ""})
    assert tree.modules("net.Net") == {"", "net"}


def test_the_packages_around_a_module_run_with_it(tree: Tree) -> None:
    tree.write({"__init__.py": "", "a/__init__.py": "from ..used import thing", "a/b/net.py": "", "a/c.py": "", "used.py": ""})
    assert tree.modules("a.b.net.Net.method") == {"", "a", "a.b.net", "used"}


def test_imports_in_a_circle_end(tree: Tree) -> None:
    tree.write({"__init__.py": "", "net.py": "from .used import *", "used.py": "from .net import *"})
    assert tree.modules("net") == {"", "net", "used"}


def test_an_edit_changes_the_digest_of_its_module_alone(tree: Tree) -> None:
    tree.write({"__init__.py": "", "net.py": "from .used import *", "used.py": ""})
    before = tree.closure("net").modules
    tree.write({"used.py": "# edited"})
    after = tree.closure("net").modules
    assert [name for name in after if before[name] != after[name]] == [f"{tree.name}.used"]


def test_a_compiled_module_counts_by_its_library(tree: Tree) -> None:
    tree.write({"__init__.py": "", "net.py": "from . import fast", "fast.cpython-311-x86_64-linux-gnu.so": "machine code"})
    assert tree.modules("net") == {"", "net", "fast"}


def test_installed_packages_are_named_and_not_followed(tree: Tree) -> None:
    tree.write(
        {"__init__.py": "", "net.py": "import os, json.decoder, torch.nn, torchvision.models\nfrom timm.layers import Mlp\n"}
    )
    closure = tree.closure("net.Net")
    assert closure.packages == {"torch", "torchvision", "timm"}
    assert sorted(closure.modules) == [tree.name, f"{tree.name}.net"]


def test_what_lies_among_the_installed_without_a_record_counts_by_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree(tmp_path / "site-packages")
    tree.write({"__init__.py": "", "net.py": "from . import used", "used.py": ""})
    monkeypatch.syspath_prepend(tree.folder)
    assert tree.modules("net") == {"", "net", "used"}


def test_a_namespace_may_be_ours_and_of_the_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = Tree(tmp_path / "own"), tmp_path / "site-packages"
    own.write({"net.py": "import {p}.bought", "sub/layer.py": ""})
    (other / own.name).mkdir(parents=True)
    (other / own.name / "bought.py").write_text("")
    monkeypatch.setattr(packages, "_owners", lambda: {own.name: ["numpy"]})
    monkeypatch.syspath_prepend(other)
    monkeypatch.syspath_prepend(own.folder)
    assert own.modules("net.Net") == {"net"}
    assert own.closure("net.Net").packages == {own.name}
    assert own.modules("sub.layer.Layer") == {"sub.layer"}


def test_our_own_models_do_not_count_our_version(tree: Tree) -> None:
    closure = Closures(FileDigests(), Packages()).of("orchestrator.zoo.recurrent.Anything")
    assert sorted(closure.modules) == ["orchestrator.zoo", "orchestrator.zoo.recurrent"]
    tree.write({"__init__.py": "", "net.py": "import orchestrator.names, exporters.base"})
    modules = tree.closure("net").modules
    assert {"orchestrator.names", "exporters.base"} <= modules.keys()
    assert {"orchestrator", "exporters"}.isdisjoint(modules)


def test_nothing_is_imported(tree: Tree) -> None:
    tree.write({"__init__.py": "raise SystemExit", "net.py": "raise SystemExit"})
    assert tree.modules("net.Net") == {"", "net"}
    assert tree.name not in sys.modules
