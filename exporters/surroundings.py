"""What every export is wrapped in: what it says is collected, and the module is left as it was found."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import torch

from exporters import sources
from exporters.base import ExporterWarning

SHARED_AXIS_NAME = "# The axis name:"
"""How torch.onnx begins to say that two axes have one name, which is what a named dimension means here."""


@contextmanager
def surroundings(module: torch.nn.Module) -> Iterator[list[ExporterWarning]]:
    """Collects warnings and log records of the exporters, which are printed all the same, and guards the training flags.

    Both of torch's exporters end with `module.train(...)` on the root, which changes submodules that were in another mode.
    """
    found: dict[ExporterWarning, None] = {}
    flags = [(submodule, submodule.training) for submodule in module.modules()]
    collected: list[ExporterWarning] = []
    try:
        with _warnings_into(found), _log_records_into(found):
            yield collected
    finally:
        collected.extend(found)
        for submodule, training in flags:
            submodule.training = training


@contextmanager
def _warnings_into(found: dict[ExporterWarning, None]) -> Iterator[None]:
    def collect(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        # torch warns of its own deprecated parts, which the user of an exporter cannot change.
        text = " ".join(str(message).split())
        if not issubclass(category, DeprecationWarning | FutureWarning) and not text.startswith(SHARED_AXIS_NAME):
            found[ExporterWarning(category=category.__name__, message=text, source=sources.line(filename, lineno))] = None
        show(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        show = warnings.showwarning
        warnings.showwarning = collect
        yield


@contextmanager
def _log_records_into(found: dict[ExporterWarning, None]) -> Iterator[None]:
    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = " ".join(record.getMessage().split())
            found[ExporterWarning(category=record.levelname, message=text, source=None)] = None

    collector = Collector(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir")]
    for logger in loggers:
        logger.addHandler(collector)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(collector)
