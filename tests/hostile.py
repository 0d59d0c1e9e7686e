"""A run in which every text that comes from a config, a model or a log tries to become something else than text."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.result import CellError, Check, CheckStatus, Finding, Stage, Status, ValueInfo
from orchestrator.spec import Plan
from orchestrator.store.ledger import Record, RunStarted
from tests import synthetic

HOSTILE = "</script><script>hacked=1</script><img src=x onerror=hacked=2><!-- \"'`{{7*7}}&lt;&amp;]]> javascript:hacked=3"


def hostile_run() -> tuple[Plan, list[Record]]:
    """Two cells of a model with a hostile name: one failed in a check, one could not be exported."""
    unit = synthetic.unit(f"m{HOSTILE}", opsets=(18, 20))
    first, second = (cell.id for cell in unit.cells)
    wrong = Check(id=f"parity{HOSTILE}", status=CheckStatus.FAILED, detail=HOSTILE, measured=8.0, threshold=1.0)
    artifact = replace(
        synthetic.artifact(synthetic.graph()),
        op_counts={HOSTILE: 3, "Relu": 1},
        inputs=(ValueInfo(name=HOSTILE, dtype="float32", shape=(HOSTILE, 3)),),
        made_from="exported",
    )
    finding = Finding(kind=HOSTILE, message=HOSTILE, source=HOSTILE)
    failed = synthetic.result(
        first,
        Status.CHECK_FAILED,
        reason=HOSTILE,
        checks=(wrong,),
        findings=(finding,),
        artifact=artifact,
        durations={HOSTILE: 1.0, "total": 2.0},
        why_exported=HOSTILE,
    )
    error = CellError(stage=Stage.CAPTURE, kind=HOSTILE, message=HOSTILE)
    refused = synthetic.result(second, Status.EXPORT_FAILED, reason=HOSTILE, error=error)
    started, *records = synthetic.ledger(failed, refused)
    assert isinstance(started, RunStarted)
    versions, host = {HOSTILE: HOSTILE}, {HOSTILE: HOSTILE}
    begin = RunStarted(
        run_id=HOSTILE, time=started.time, command=("python", HOSTILE), versions=versions, host=dict(host), plan=None
    )
    return synthetic.plan(unit), [begin, *records]
