"""Weights that a declaration names by address: fetched once, kept under their digest, and never used without it.

Needs nothing but Python: a repro script carries a copy. Not covered: addresses that ask for a login.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

from orchestrator.digest import digest_of

SECONDS_WITHOUT_DATA = 60


class DownloadError(Exception):
    """An address gave nothing, or other bytes than the declared ones."""


def fetched(url: str, sha256: str, folder: Path) -> Path:
    """Returns the file of an address, which is fetched unless the folder has it.

    Args:
        url: https, http or file.
        sha256: Digest that the bytes must have, in hex; a kept file with other bytes is fetched again.
        folder: Where it is kept, as `<sha256>/<name>`; other processes may use the folder at the same time.

    Raises:
        DownloadError: See there.
    """
    path = folder / sha256.lower() / Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
    if path.is_file() and digest_of(path) == sha256.lower():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    incoming = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file, opener().open(url, timeout=SECONDS_WITHOUT_DATA) as answer:
            shutil.copyfileobj(answer, file)
        if (found := digest_of(incoming)) != sha256.lower():
            raise DownloadError(f"{url} has the SHA-256 {found}, not the declared {sha256}")
        incoming.replace(path)
    except OSError as error:
        raise DownloadError(f"{url}: {error}") from error
    finally:
        incoming.unlink(missing_ok=True)
    return path


def opener() -> urllib.request.OpenerDirector:
    """Opens https, http and file, also where an address leads on to another one; urllib's own would open ftp and data too."""
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.FileHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
    ):
        director.add_handler(handler())
    return director
