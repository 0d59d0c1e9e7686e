"""A real Chromium without a window, for the tests and the benchmark of report.html; not there everywhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SWITCHES = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MISSING = f"needs one of {', '.join(NAMES)} on the path, as the package chromium of a distribution brings it"


def executable() -> str | None:
    """Where a Chromium is; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser that asks nobody for anything; its sandbox is off, as it refuses to start as root with it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable(), args=[*SWITCHES], chromium_sandbox=False)
        try:
            yield started
        finally:
            started.close()
