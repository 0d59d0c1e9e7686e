from __future__ import annotations

import errno

import pytest
import torch

from orchestrator.build.trust import UntrustedError
from orchestrator.errors import StorageError
from orchestrator.result import CellResult, Stage, StageStarted, Status
from orchestrator.stages import Stages, failure
from tests import synthetic

CELL = synthetic.unit().cells[0]


def test_a_stage_is_announced_and_timed_also_when_it_raises() -> None:
    stages = Stages("u", Stage.BUILD)
    assert stages.start(Stage.VERIFY, "c") == StageStarted(unit="u", cell="c", stage=Stage.VERIFY)
    with pytest.raises(ZeroDivisionError), stages.timed():
        raise ZeroDivisionError
    assert stages.seconds.keys() == {Stage.VERIFY}


def test_a_finished_cell_has_the_seconds_in_the_order_of_the_stages_and_their_sum() -> None:
    stages = Stages("u", Stage.BUILD)
    stages.seconds |= {Stage.EMIT: 2.0, Stage.BUILD: 1.0}
    result = stages.finish(CellResult(cell="c", status=Status.PASSED, reason="")).result
    assert list(result.durations.items()) == [("build", 1.0), ("emit", 2.0), ("total", 3.0)]


@pytest.mark.parametrize(("others", "told"), [((), "torch.relu"), (("abs", "add", "addmm", "bmm", "cat"), " and 1 more")])
def test_what_a_unit_replaced_in_torch_is_a_finding_of_its_cells(
    monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...], told: str
) -> None:
    stages = Stages("u", Stage.BUILD)
    for name in ("relu", *others):
        monkeypatch.setattr(torch, name, print)
    (finding,) = stages.finish(CellResult(cell="c", status=Status.PASSED, reason="")).result.findings
    assert finding.kind == "patched_torch"
    assert finding.message.startswith("the model or its export replaced in torch: torch.")
    assert finding.message.endswith(told)


def _wrapped(error: Exception) -> Exception:
    wrapper = RuntimeError("cannot be captured")
    wrapper.__cause__ = ValueError("neither")
    wrapper.__cause__.__context__ = error
    return wrapper


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ValueError("no\nsecond line"), Status.EXPORT_FAILED, "ValueError"),
        (UntrustedError("no"), Status.EXPORT_FAILED, "untrusted"),
        (StorageError("io", "no"), Status.INFRA_ERROR, "io"),
        (OSError(errno.ENOSPC, "no"), Status.INFRA_ERROR, "disk_full"),
        (_wrapped(OSError(errno.ENOSPC, "no")), Status.INFRA_ERROR, "disk_full"),
        (OSError(errno.ENOENT, "no"), Status.EXPORT_FAILED, "FileNotFoundError"),
    ],
)
def test_an_exception_is_an_outcome_with_one_line(error: Exception, status: Status, kind: str) -> None:
    result = failure(CELL, Stage.EMIT, error, ())
    assert (result.status, result.error.kind if result.error else "") == (status, kind)
    assert result.reason.startswith("emit: ")
    assert "\n" not in result.reason


def test_an_exception_without_words_is_called_by_its_class() -> None:
    assert failure(CELL, Stage.BUILD, KeyError(), ()).reason == "build: KeyError"
