"""What to do about a cell that did not end as it should: one sentence, chosen by how it ended."""

from __future__ import annotations

from orchestrator.report.summary import CellReport
from orchestrator.result import CheckStatus, Stage, Status

BFLOAT16_OPSET = 22
"""Conv, the poolings and the recurrent operators take bfloat16 from here on, as the ONNX changelog of operators says."""
BY_CHECK = {
    "interface": "Compare the dims, inputs and outputs in the model's config with what the model does.",
    "structure": "Ask for an opset that this exporter reaches, or take the other exporter.",
    "branches": "A trace keeps one side: torchscript_script keeps both, dynamo too where torch.where or torch.cond says it.",
    "parity": "Run repro.py and look at the output that is named; a deviation that is meant gets rtol or atol in the config.",
    "shapes": "A size was frozen in the graph: look for Python numbers made from shapes, or narrow the dimension's range.",
    "mode": "It answers as in the other mode: take the other exporter, or find the submodule that is not in the model's mode.",
    "delivery": "The delivered files are not those that were exported: look at the disk, then run again.",
}
"""By the first check that failed, or by one of `CAUSES`."""
CAUSES = ("branches", "mode")
"""Checks that know the reason of what others only see."""
TRAINING = "in training mode"
"""How `structure` calls what does not follow the model's mode."""
FROZEN = ("baked in", "narrowed to")
"""How `interface` calls a size that the export has fixed."""
BROKEN = "fails on it"
"""How checks say that the artifact does not run; then none of them knows the reason."""
BY_STATUS = {
    Status.CRASHED: "The end of the log says where; cluster=inline runs the cell in this process, for a debugger.",
    Status.TIMEOUT: "If it is only slow, give it more time: limits.seconds=…",
    Status.OOM: "Give it more memory, limits.memory=…, or run fewer at once, cluster.workers=…",
    Status.INFRA_ERROR: "The model is not to blame: mend what the message names and run again.",
    Status.SKIPPED: "Run again for the cells that are missing.",
}
BY_ERROR = {
    "untrusted": "If you trust this code, say so: trust=[PACKAGE.*] on the command line or in your primary config.",
    "log_limit": "It printed more than limits.log allows: silence it, or raise the limit.",
}
"""By the kind of the error, before its status is asked."""


GONE = "If it is meant to be gone: python -m orchestrator accept latest"
"""About a cell of the baseline that the run does not have."""


def next_step(cell: CellReport) -> str:
    """The next step for a cell that did not end as expected."""
    if cell.regressions and cell.status in (Status.PASSED, Status.SKIPPED):
        return f"If it is meant to be so: python -m orchestrator accept latest 'select=[{cell.id}]'"
    if cell.error and cell.error.kind in BY_ERROR:
        return BY_ERROR[cell.error.kind]
    if cell.status is Status.CHECK_FAILED:
        return _by_check(cell)
    if cell.status is Status.EXPORT_FAILED and cell.error and cell.error.stage is Stage.BUILD:
        return "Mend the model's config or its factory; the log has the traceback."
    return BY_STATUS.get(
        cell.status, "Try the other exporter, or work on repro.py; a limit to live with goes into known_issues."
    )


def _by_check(cell: CellReport) -> str:
    failed = {check.id: check.detail for check in cell.checks if check.status in (CheckStatus.FAILED, CheckStatus.ERROR)}
    first = next(iter(failed), "")
    if cell.dtype == "bfloat16" and first == "structure" and (cell.opset or 0) < BFLOAT16_OPSET:
        return f"Many operators take bfloat16 from opset {BFLOAT16_OPSET} on only: ask for it, with target=reference."
    if cell.dtype == "bfloat16" and cell.target == "cpu":
        return "Judge it with target=reference: ONNX Runtime's CPU provider has no bfloat16 kernels."
    if first == "structure" and TRAINING in cell.reason:
        return "Let it follow the model's mode (training=self.training, a module that eval() reaches), or declare mode: train."
    if first == "interface" and any(words in failed[first] for words in FROZEN):
        return BY_CHECK["shapes"]
    # What the numbers show first has its reason in another check.
    told = next((check for check in CAUSES if check in failed and BROKEN not in failed[check]), first)
    return BY_CHECK.get(told, "Run repro.py and look at what the check names.")
