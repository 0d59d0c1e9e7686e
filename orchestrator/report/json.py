"""report.json: the report for machines, as `report.schema.json` describes it."""

from __future__ import annotations

import importlib.resources
from typing import Any

import msgspec

from orchestrator.report.summary import Report


def render(report: Report) -> bytes:
    """The report as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(report)) + b"\n"


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) that every report follows."""
    text = importlib.resources.files("orchestrator.report").joinpath("report.schema.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, Any])
