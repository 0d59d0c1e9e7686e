"""What every export is wrapped in: what it says is collected, and the module is left as it was found."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TextIO

import torch

from exporters import sources
from exporters.base import ExporterWarning

SHARED_AXIS_NAME = "# The axis name:"
"""How torch.onnx begins to say that two axes have one name, which is what a named dimension means here."""
LOGGERS = ("torch", "torch.onnx", "onnxscript", "onnx_ir")
"""Of the exporters; torch.onnx does not hand its records on to torch."""


@contextmanager
def surroundings(module: torch.nn.Module) -> Iterator[Collection[ExporterWarning]]:
    """Collects what the exporters say, which is printed all the same, and leaves the module as it was found.

    Guarded are training flags and buffers: both of torch's exporters end with `module.train(...)` on the root, which changes
    submodules that were in another mode, and a forward in training mode moves the statistics of batch norm.
    """
    found: dict[ExporterWarning, None] = {}
    with _flags_kept(module), _buffers_kept(module), _warnings_into(found), _log_records_into(found):
        yield found.keys()


@contextmanager
def _flags_kept(module: torch.nn.Module) -> Iterator[None]:
    flags = [(submodule, submodule.training) for submodule in module.modules()]
    try:
        yield
    finally:
        for submodule, training in flags:
            submodule.training = training


@contextmanager
def _buffers_kept(module: torch.nn.Module) -> Iterator[None]:
    """Values and identity; a forward may write into a buffer or put another tensor in its place."""
    kept = [
        (submodule, name, buffer, buffer.clone())
        for submodule in module.modules()
        for name, buffer in submodule.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for submodule, name, buffer, value in kept:
                # One that did not change may be a view that cannot be written.
                if not torch.equal(buffer, value):
                    buffer.copy_(value)
                setattr(submodule, name, buffer)


@contextmanager
def _warnings_into(found: dict[ExporterWarning, None]) -> Iterator[None]:
    """Each is printed once, however often it is given; torch's warnings of its own deprecated parts are not the model's."""
    printed: set[tuple[str, str, int]] = set()

    def collect(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG001
        line: str | None = None,
    ) -> None:
        text = " ".join(str(message).split())
        if not issubclass(category, DeprecationWarning | FutureWarning) and not text.startswith(SHARED_AXIS_NAME):
            found[ExporterWarning(category=category.__name__, message=text, source=sources.line(filename, lineno))] = None
        if (text, filename, lineno) not in printed:
            printed.add((text, filename, lineno))
            sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = collect
        yield


class _Collector(logging.Handler):
    """Stands beside the handlers that are there; where none is, it prints as Python does then."""

    def __init__(self, found: dict[ExporterWarning, None], alone: bool) -> None:
        super().__init__(logging.WARNING)
        self.found, self.alone = found, alone

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        self.found[ExporterWarning(category=record.levelname, message=text, source=None)] = None
        if self.alone and logging.lastResort:
            logging.lastResort.handle(record)


@contextmanager
def _log_records_into(found: dict[ExporterWarning, None]) -> Iterator[None]:
    collectors = {logger: _Collector(found, alone=not logger.hasHandlers()) for logger in map(logging.getLogger, LOGGERS)}
    for logger, collector in collectors.items():
        logger.addHandler(collector)
    try:
        yield
    finally:
        for logger, collector in collectors.items():
            logger.removeHandler(collector)
