from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.build.locate import Kind, Place, locate

Write = Callable[..., str]
COUNTER = itertools.count()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a package whose every module leaves a canary behind if it is imported, and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"located_{next(COUNTER)}"

    def write(**files: str) -> str:
        for stem, source in {"__init__": "", **files}.items():
            file = tmp_path / name / f"{stem.replace('__in__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            canary = f"open({str(tmp_path / 'canary')!r}, 'w').close()\n"
            file.write_text(source + "\n" + canary)
        return name

    return write


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path) -> Iterator[None]:
    yield
    assert not (tmp_path / "canary").exists()


def found(target: str) -> list[tuple[Kind, str]]:
    top = target.partition(".")[0]
    return [(place.kind, place.path) for place in locate(target, lambda package: package == top)]


def test_a_definition_is_where_it_stands(package: Write) -> None:
    name = package(a="class Net:\n    def make(): ...")
    assert found(f"{name}.a.Net") == [(Kind.BOUND, f"{name}.a.Net")]
    assert found(f"{name}.a.Net.make") == [(Kind.BOUND, f"{name}.a.Net.make")]


def test_reexports_aliases_and_star_imports_are_followed(package: Write) -> None:
    name = package(
        __init__="from .a import Net as Renamed\nfrom .b import *\nfrom . import a as module\nAlias = module.Net",
        a="class Net: ...",
        b="from .c import *",
        c="def make(): ...",
    )
    assert found(f"{name}.Renamed") == [(Kind.BOUND, f"{name}.a.Net")]
    assert found(f"{name}.make") == [(Kind.BOUND, f"{name}.c.make")]
    assert found(f"{name}.module.Net") == [(Kind.BOUND, f"{name}.a.Net")]
    assert found(f"{name}.Alias") == [(Kind.BOUND, f"{name}.a.Net")]


def test_a_name_from_elsewhere_is_foreign_whatever_it_is_called(package: Write) -> None:
    name = package(a="from functools import partial as resnet\nimport os\nimport os.path as p")
    assert found(f"{name}.a.resnet") == [(Kind.FOREIGN, "functools.partial")]
    assert found(f"{name}.a.os.system") == [(Kind.FOREIGN, "os.system")]
    assert found(f"{name}.a.p.join") == [(Kind.FOREIGN, "os.path.join")]


def test_each_branch_is_a_place(package: Write) -> None:
    name = package(a="try:\n    from os import system as f\nexcept ImportError:\n    def f(): ...")
    assert found(f"{name}.a.f") == [(Kind.FOREIGN, "os.system"), (Kind.BOUND, f"{name}.a.f")]


@pytest.mark.parametrize(
    "source",
    [
        "thing = make()",
        "def __getattr__(name): ...",
        "import sys\nsys.modules[__name__] = 1",
        "from os import *",
        "class thing(Base): ...",
    ],
)
def test_what_only_running_tells_is_unknown(package: Write, source: str) -> None:
    name = package(a=source)
    target = f"{name}.a.thing" + (".inherited" if "class" in source else "")
    assert found(target) == [(Kind.UNKNOWN, target)]


def test_a_missing_name_comes_with_near_ones(package: Write) -> None:
    name = package(__init__="from .a import *", a="def resnet50(): ...")
    [place] = locate(f"{name}.resnet51", lambda _: True)
    assert place == Place(Kind.MISSING, f"{name}.resnet51", ("resnet50",))


def test_modules_are_told_from_what_can_be_called(package: Write) -> None:
    name = package(a="", inner__in____init__="")
    assert found(f"{name}.a") == [(Kind.MODULE, f"{name}.a")]
    assert found(f"{name}.inner") == [(Kind.MODULE, f"{name}.inner")]


def test_imports_in_a_circle_end(package: Write) -> None:
    name = package(a="from .b import *\nfrom .b import x", b="from .a import *\nfrom .a import x\ny = y")
    assert {kind for kind, _ in found(f"{name}.a.x")} == {Kind.MISSING}
    assert {kind for kind, _ in found(f"{name}.b.y")} == {Kind.MISSING}
    assert {kind for kind, _ in found(f"{name}.a.z")} == {Kind.MISSING}


def test_a_package_that_is_not_there_is_named() -> None:
    assert found("no_such_package_anywhere.Net") == [(Kind.NOT_INSTALLED, "no_such_package_anywhere")]


def test_what_a_followed_import_does_not_find_is_unknown(package: Write) -> None:
    name = package(a=f"from located_{next(COUNTER)}.gone import f")
    assert found(f"{name}.a.f")[0][0] is Kind.FOREIGN
    [place] = locate(f"{name}.a.f", lambda _: True)
    assert place.kind is Kind.UNKNOWN


@pytest.mark.parametrize(
    ("target", "own"),
    [
        ("torchvision.models.resnet50", "torchvision.models.resnet.resnet50"),
        ("timm.create_model", "timm.models._factory.create_model"),
        ("timm.models.resnet50", "timm.models.resnet.resnet50"),
        ("torch.nn.Linear", "torch.nn.modules.linear.Linear"),
        ("khmer_ocr_ocm.CRNN", "khmer_ocr_ocm.model.CRNN"),
    ],
)
def test_the_libraries_of_the_zoo_are_understood(target: str, own: str) -> None:
    assert (Kind.BOUND, own) in found(target)
