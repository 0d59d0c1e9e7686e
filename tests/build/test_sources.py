from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from orchestrator.build import sources
from orchestrator.build.sources import Binding, Module


def module(tmp_path: Path, source: str) -> Module:
    file = tmp_path / "module.py"
    file.write_text(source)
    return Module("module", file)


def bound(tmp_path: Path, source: str) -> dict[str, list[Binding]]:
    return sources.names(module(tmp_path, source)).bound


def test_a_module_of_a_package_is_found_without_importing_it() -> None:
    found = sources.find("concurrent.futures.thread")
    assert found is not None
    assert found.file is not None
    assert found.file.name == "thread.py"


def test_a_package_has_a_folder_and_a_module_none() -> None:
    folder = sources.folder_of("concurrent.futures")
    assert folder is not None
    assert (folder / "thread.py").is_file()
    assert sources.folder_of("concurrent.futures.thread") is None
    assert sources.folder_of("no_such_package_anywhere") is None


def test_what_has_no_file_is_not_found() -> None:
    assert sources.find("concurrent.nothing.at.all") is None
    assert sources.find("no_such_package_anywhere") is None


def test_a_module_that_was_started_as_a_script_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # Like `__main__` then, it has no spec.
    monkeypatch.setitem(sys.modules, "started_as_a_script", ModuleType("started_as_a_script"))
    assert sources.find("started_as_a_script") is None


def test_a_builtin_module_counts_as_compiled() -> None:
    found = sources.find("sys")
    assert found is not None
    assert found.compiled


def test_a_compiled_submodule_is_known_as_such(tmp_path: Path) -> None:
    (tmp_path / "native.cpython-311.so").touch()
    found = sources.submodule(Module("package", None, (tmp_path,)), "native")
    assert found == Module("package.native", None, compiled=True)


def test_a_folder_without_init_is_a_namespace(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    assert sources.submodule(Module("package", None, (tmp_path,)), "inner") == Module(
        "package.inner", None, (tmp_path / "inner",)
    )


@pytest.mark.parametrize(
    ("level", "name", "package", "expected"),
    [
        (0, "other.thing", False, "other.thing"),
        (1, "near", False, "a.b.near"),
        (1, "near", True, "a.b.c.near"),
        (2, "near", True, "a.b.near"),
        (1, None, True, "a.b.c"),
    ],
)
def test_relative_imports_are_made_absolute(level: int, name: str | None, package: bool, expected: str) -> None:
    folders = (Path("/somewhere"),) if package else ()
    assert Module("a.b.c", None, folders).absolute(level, name) == expected


def test_imports_aliases_and_definitions_bind(tmp_path: Path) -> None:
    found = bound(
        tmp_path, "import a.b\nimport a.b as c\nfrom d import e as f\ng = c.h\nk, l = 1, 2\nm: int = g\nclass N: ...\n"
    )
    assert found["a"] == [Binding(module="a")]
    assert found["c"] == [Binding(module="a.b")]
    assert found["f"] == [Binding(module="d", attribute="e")]
    assert found["g"] == [Binding(alias="c.h")]
    assert found["k"] == found["l"] == [Binding()]
    assert found["m"] == [Binding(alias="g")]
    assert found["N"][0].node is not None


def test_every_branch_that_may_run_at_import_binds(tmp_path: Path) -> None:
    source = "try:\n    from a import x\nexcept ImportError:\n    from b import x\nelse:\n    y = 1\nwith z:\n    w = 1\n"
    found = bound(tmp_path, source)
    assert found["x"] == [Binding(module="a", attribute="x"), Binding(module="b", attribute="x")]
    assert {"y", "w"} <= found.keys()


def test_what_is_imported_for_type_checkers_only_does_not_bind(tmp_path: Path) -> None:
    assert bound(tmp_path, "if TYPE_CHECKING:\n    from a import x\nelse:\n    from b import x\n")["x"] == [
        Binding(module="b", attribute="x")
    ]


@pytest.mark.parametrize(
    "source", ["def __getattr__(name): ...", "import sys\nsys.modules[__name__] = 1", "globals()['x'] = 1", "not python ("]
)
def test_a_module_that_may_have_other_names_says_so(tmp_path: Path, source: str) -> None:
    assert sources.names(module(tmp_path, source)).dynamic


def test_a_null_byte_in_a_source_is_left_to_the_import(tmp_path: Path) -> None:
    assert sources.names(module(tmp_path, "x = 1\0")).dynamic
