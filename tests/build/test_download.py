from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from orchestrator.build.download import DownloadError, fetched
from orchestrator.digest import digest_of

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.SimpleHTTPRequestHandler):
    """A folder, and addresses that lead on to others."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to?"))
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server on this machine that has the file `w 1.pth`."""
    monkeypatch.setenv("no_proxy", "*")
    Server.asked.clear()
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "w 1.pth").write_bytes(CONTENT)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_address_is_asked_once_and_kept_under_its_digest(served: str, tmp_path: Path) -> None:
    for _ in range(2):
        path = fetched(f"{served}/w%201.pth", SHA256.upper(), tmp_path / "kept")
        assert path == tmp_path / "kept" / SHA256 / "w 1.pth"
        assert path.read_bytes() == CONTENT
    assert Server.asked == ["/w%201.pth"]
    assert [item.name for item in path.parent.iterdir()] == ["w 1.pth"]


def test_a_kept_file_that_was_changed_is_fetched_again(served: str, tmp_path: Path) -> None:
    path = fetched(f"{served}/w%201.pth", SHA256, tmp_path)
    path.write_bytes(b"other")
    assert digest_of(fetched(f"{served}/w%201.pth", SHA256, tmp_path)) == SHA256


def test_other_bytes_than_the_declared_ones_are_refused_and_not_kept(served: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"has the SHA-256 {SHA256}, not the declared {'0' * 64}"):
        fetched(f"{served}/w%201.pth", "0" * 64, tmp_path / "kept")
    assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()] == []


def test_a_file_of_this_machine_has_an_address_too(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(CONTENT)
    assert fetched((tmp_path / "w.pth").as_uri(), SHA256, tmp_path / "kept").read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["/gone.pth", "/to?file:///etc/hostname", "/to?ftp://127.0.0.1/w.pth"])
def test_an_address_that_gives_nothing_is_named(served: str, tmp_path: Path, address: str) -> None:
    with pytest.raises(DownloadError, match=address.replace("?", r"\?")):
        fetched(served + address, SHA256, tmp_path / "kept")


def test_an_address_may_lead_on_to_another(served: str, tmp_path: Path) -> None:
    assert digest_of(fetched(f"{served}/to?{served}/w%201.pth", SHA256, tmp_path / "kept")) == SHA256


def test_other_kinds_of_address_are_not_opened(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="unknown url type"):
        fetched("data:text/plain,weights", SHA256, tmp_path)
