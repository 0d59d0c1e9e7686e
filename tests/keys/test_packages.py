from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from orchestrator.keys import packages
from orchestrator.keys.packages import Packages, record_digest

RECORD = "net/__init__.py,sha256=abc,10\nnet/layers.py,sha256=def,20\n"


def installed(folder: Path, name: str, record: str | None, requires: str = "") -> None:
    info = folder / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    requirement = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n{requirement}")
    if record is not None:
        (info / "RECORD").write_text(record)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(packages, "_owners", metadata.packages_distributions)
    return tmp_path


def test_a_distribution_is_its_version_and_its_files(site: Path) -> None:
    installed(site, "keyed-net", RECORD.replace("net/", "keyed_net/"))
    description = {"version": "1.2", "record": record_digest(RECORD.replace("net/", "keyed_net/"))}
    assert Packages().of_import("keyed_net") == {"keyed-net": description}


def test_without_a_record_nothing_is_known_of_the_files(site: Path) -> None:
    installed(site, "keyed-bare", None)
    assert Packages().described("keyed-bare") is None
    assert Packages().of_import("keyed_bare") == {}
    assert Packages().described("keyed-missing") is None


def test_what_an_installer_adds_is_not_in_the_digest() -> None:
    added = (
        "../../../bin/net,sha256=the-path-of-an-interpreter,9\n"
        "net/__pycache__/layers.cpython-311.pyc,,\n"
        "net-1.2.dist-info/INSTALLER,sha256=pip,4\n"
        "net-1.2.dist-info/RECORD,,\n"
    )
    assert record_digest(added + RECORD) == record_digest(RECORD)


@pytest.mark.parametrize("edited", [RECORD.replace("def", "fed"), RECORD.replace("layers", "layer"), RECORD.splitlines()[0]])
def test_another_list_of_files_has_another_digest(edited: str) -> None:
    assert record_digest(edited) != record_digest(RECORD)


def test_requirements_that_build_on_torch_may_hold_layers(site: Path) -> None:
    installed(site, "keyed-zoo", RECORD, requires="keyed-Layers>=1")
    installed(site, "keyed-layers", RECORD, requires='torch>=2; python_version >= "3"')
    installed(site, "keyed-text", RECORD, requires="keyed-tokens")
    installed(site, "keyed-tokens", RECORD, requires='torch>=2; extra == "train"')
    assert [*Packages().layers_of("keyed-zoo")] == ["keyed-layers"]
    assert Packages().layers_of("keyed-text") == {}
    assert Packages().layers_of("keyed-missing") == {}
