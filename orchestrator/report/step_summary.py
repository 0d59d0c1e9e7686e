"""What a job of GitHub Actions shows as its summary: the Markdown report, cut to what GitHub takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from orchestrator import layout
from orchestrator.report import markdown
from orchestrator.report.summary import Report, unexpected

VARIABLE = "GITHUB_STEP_SUMMARY"
"""Names the file that a step appends to."""
LIMIT = 1 << 20
"""Bytes of a step's summary, by GitHub's documentation of workflow commands; of a larger one nothing is shown."""


def append(report: Report, environment: Mapping[str, str] = os.environ) -> None:
    """Append the report to the summary of the step that we are run by, if we are; a file that cannot be written is told."""
    if not (name := environment.get(VARIABLE)):
        return
    try:
        with Path(name).open("ab") as file:
            file.write(render(report, LIMIT - file.tell()))
    except OSError as error:
        sys.stderr.write(f"{VARIABLE}: {name} cannot be written: {error.strerror}\n")


def render(report: Report, room: int) -> bytes:
    """The report in at most so many bytes.

    Args:
        report: Of the run.
        room: Bytes. Where they do not suffice, cells that ended as expected are left out, then the end.
    """
    whole = markdown.render(report).encode()
    if len(whole) <= room:
        return whole
    bad = markdown.render(report, unexpected(report)).encode()
    if len(bad) <= room:
        return bad
    end = f"\n\nThe rest does not fit: it is in {layout.REPORT_MARKDOWN} of the run folder.\n".encode()
    cut = bad[: max(0, room - len(end))]
    return cut[: cut.rfind(b"\n")] + end if len(cut) > 0 else b""
