from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.errors import EnvironmentRefusedError
from orchestrator.schedulers import machine


@pytest.mark.parametrize(("refusal", "code", "told"), [(None, 0, ""), ("no port is free", 3, "no port is free\n")])
def test_it_says_whether_ray_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refusal: str | None, code: int, told: str
) -> None:
    @contextmanager
    def own_ray(folder: Path, slots: int) -> Iterator[None]:
        assert folder.is_dir()
        assert slots == 1
        if refusal:
            raise EnvironmentRefusedError(refusal)
        yield

    monkeypatch.setattr(machine, "own_ray", own_ray)
    assert machine.main() == code
    assert capsys.readouterr().err == told
