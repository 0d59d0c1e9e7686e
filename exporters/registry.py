"""All exporters, by the name that configurations use. Imports torch: only `orchestrator.unit` imports this module."""

from __future__ import annotations

from collections.abc import Mapping

from exporters import dynamo, torchscript
from exporters.base import Exporter

EXPORTERS: Mapping[str, Exporter] = {
    "dynamo": dynamo.export,
    "torchscript": torchscript.export,
    "torchscript_script": torchscript.export_script,
}
