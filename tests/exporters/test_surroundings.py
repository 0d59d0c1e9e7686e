from __future__ import annotations

import logging
import warnings

import pytest
import torch

from exporters.base import ExporterWarning
from exporters.surroundings import LOGGERS, SHARED_AXIS_NAME, surroundings

MODULE = torch.nn.Identity()


def test_warnings_are_collected_once_with_their_line_and_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    with surroundings(MODULE) as found:
        for _ in range(3):
            warnings.warn("frozen\n  branch", UserWarning, stacklevel=1)
    (warning,) = found
    assert (warning.category, warning.message) == ("UserWarning", "frozen branch")
    assert warning.source is not None
    assert warning.source.startswith("tests/exporters/test_surroundings.py:")
    assert capsys.readouterr().err.count("UserWarning: frozen") == 1


def test_a_buffer_that_cannot_be_written_is_left_alone() -> None:
    module = torch.nn.Identity()
    module.register_buffer("view", torch.ones(1).expand(8))
    with surroundings(module):
        module(torch.ones(8))
    assert module.view.tolist() == [1.0] * 8


NOISE = [
    (DeprecationWarning, "goes away"),
    (FutureWarning, "goes away"),
    (UserWarning, f"{SHARED_AXIS_NAME} batch will not be used"),
]


@pytest.mark.parametrize(("category", "message"), NOISE)
def test_what_does_not_concern_the_model_is_printed_and_not_collected(
    category: type[Warning], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with surroundings(MODULE) as found:
        warnings.warn(message, category, stacklevel=1)
    assert list(found) == []
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", LOGGERS)
def test_log_records_are_collected_from_warning_on(name: str) -> None:
    logger = logging.getLogger(f"{name}.part")
    with surroundings(MODULE) as found:
        logger.info("all is well")
        logger.warning("kept at %s", 18)
    assert list(found) == [ExporterWarning(category="WARNING", message="kept at 18", source=None)]


def test_a_record_is_printed_where_no_handler_would(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python prints a warning that no handler takes; a handler that only collects must not end that."""
    logger = logging.getLogger("exporter without handlers")
    # Set here and not in a fixture: pytest listens to every logger that it finds when the test begins.
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr("exporters.surroundings.LOGGERS", (logger.name,))
    with surroundings(MODULE):
        logger.warning("kept at 18")
    assert capsys.readouterr().err == "kept at 18\n"
    assert logger.handlers == []


def test_nothing_is_collected_afterwards() -> None:
    show = warnings.showwarning
    with surroundings(MODULE) as found:
        pass
    logging.getLogger("onnxscript").warning("later")
    assert list(found) == []
    assert warnings.showwarning is show


class Stateful(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("written", torch.zeros(2))
        self.register_buffer("replaced", torch.zeros(2))
        self.register_buffer("absent", None)

    def forward(self) -> None:
        self.written += 1
        self.replaced = self.replaced + 1
        self.train()


@pytest.mark.parametrize("error", [None, ValueError])
def test_flags_and_buffers_are_put_back_also_after_an_error(error: type[Exception] | None) -> None:
    module = torch.nn.Sequential(Stateful(), torch.nn.Dropout()).eval()
    module[1].train()
    identities = [id(buffer) for buffer in module.buffers()]
    try:
        with surroundings(module):
            module[0].forward()
            module[1].eval()
            if error:
                raise error
    except ValueError:
        pass
    assert [submodule.training for submodule in module.modules()] == [False, False, True]
    assert [buffer.tolist() for buffer in module.buffers()] == [[0, 0], [0, 0]]
    assert [id(buffer) for buffer in module.buffers()] == identities
