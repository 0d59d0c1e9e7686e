from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from orchestrator.digest import digest_of


@pytest.mark.parametrize("data", [b"", b"bytes", b"\0" * 3_000_000])
def test_a_file_is_named_by_its_bytes(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    assert digest_of(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_what_cannot_be_read_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        digest_of(tmp_path / "nowhere")
