"""Plans and results made by hand, for tests of what a run leaves behind: no torch, no exporter, no work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from exporters.base import Dim, TensorSpec
from orchestrator.result import (
    Artifact,
    CellError,
    CellFinished,
    CellResult,
    Check,
    CheckStatus,
    FileRef,
    Finding,
    Regression,
    Rule,
    Speed,
    Stage,
    Status,
    ValueInfo,
)
from orchestrator.spec import (
    BuildSpec,
    Cell,
    ClusterSpec,
    ExporterSpec,
    KnownIssue,
    Limits,
    ModelSpec,
    OutputSpec,
    Plan,
    RunSettings,
    Target,
    Unit,
    VerifyLevel,
    VerifySpec,
    WeightsSpec,
)
from orchestrator.store.ledger import BaselineCompared, Record, RunFinished, RunStarted, RunStatus

CPU = Target(name="cpu", device="cpu", provider="CPUExecutionProvider")
CUDA = Target(name="cuda", device="cuda", provider="CUDAExecutionProvider")
SPEED = Speed(
    artifact_seconds=0.0123,
    eager_seconds=0.0256,
    ratio=0.482,
    pairs=7,
    threads=1,
    artifact_bytes=120_000_000,
    eager_bytes=205_000_000,
)


def model(name: str, known_issues: Iterable[KnownIssue] = ()) -> ModelSpec:
    return ModelSpec(
        name=name,
        build=BuildSpec(target=f"torchvision.models.{name}", arguments={"weights": None, "layers": [1, 2]}),
        weights=WeightsSpec(seed=0),
        dims={"batch": Dim(name="batch", min=1, max=16)},
        inputs=(TensorSpec(name="image", shape=("batch", 3, 224, 224), dtype="float32", range=(-2.5, 2.5)),),
        outputs=(OutputSpec(name="logits"),),
        known_issues=tuple(known_issues),
    )


def unit(
    name: str = "resnet50",
    exporter: str = "dynamo",
    opsets: Iterable[int] = (20,),
    targets: Iterable[Target] = (CPU,),
    known_issues: Iterable[KnownIssue] = (),
    swept: tuple[tuple[str, str], ...] = (),
    skip: str | None = None,
) -> Unit:
    suffix = "".join(f"-{key}={value}" for key, value in swept)
    return Unit(
        id=f"{name}-{exporter}-float32",
        model=model(name, known_issues),
        exporter=ExporterSpec(name=exporter, options={"optimize": True}),
        dtype="float32",
        verify=VerifySpec(level=VerifyLevel.STANDARD, seed=0, k=8.0),
        limits=Limits(seconds=600, memory=8 << 30, log=10 << 20),
        cells=tuple(
            Cell(
                id=f"{name}-{exporter}-opset{opset}-float32-{target.name}{suffix}",
                opset=opset,
                target=target,
                swept=swept,
                skip=skip,
            )
            for target in targets
            for opset in opsets
        ),
    )


def plan(*units: Unit, runs: str = "/runs", store: str = "/runs/.store") -> Plan:
    settings = RunSettings(
        runs=runs,
        store=store,
        cluster=ClusterSpec(kind="inline", workers=1, threads_per_worker=1),
        trust=(),
        require_targets=False,
        overrides=("+model=resnet50",),
    )
    return Plan(schema_version=1, settings=settings, units=units)


def artifact(graph: FileRef, *data: FileRef, opset: int = 20) -> Artifact:
    return Artifact(
        files=(graph, *data),
        opset=opset,
        ir_version=10,
        op_counts={"Conv": 53, "Relu": 49, "Gemm": 1},
        inputs=(ValueInfo(name="image", dtype="float32", shape=("batch", 3, 224, None)),),
        outputs=(ValueInfo(name="logits", dtype="float32", shape=("batch", 1000)),),
        made_from="exported",
    )


def graph(digit: str = "a", size: int = 123_456) -> FileRef:
    return FileRef(name="dynamo-opset20.onnx", sha256=digit * 64, bytes=size)


def weights() -> FileRef:
    return FileRef(name=f"weights-{'b' * 12}.data", sha256="b" * 64, bytes=102_400_000)


def checks(**changed: Check) -> tuple[Check, ...]:
    good = {
        name: Check(id=name, status=CheckStatus.PASSED, detail="")
        for name in ("interface", "structure", "parity", "shapes", "delivery")
    }
    good["parity"] = Check(id="parity", status=CheckStatus.PASSED, detail="", measured=1.2e-6, threshold=3.4e-5, seconds=0.8)
    return tuple((good | changed).values())


def result(cell: str, status: Status = Status.PASSED, **changed: Any) -> CellResult:
    """A plausible result of that status; `changed` replaces fields."""
    fields: dict[str, Any] = {
        "reason": "" if status is Status.PASSED else f"it {status}",
        "durations": {"build": 0.9, "reference": 1.2, "capture": 4.5, "emit": 1.1, "verify": 2.25, "total": 9.95},
        "peak_memory": 1_530_000_000,
    }
    if status in (Status.PASSED, Status.CHECK_FAILED, Status.UNVERIFIED):
        fields["artifact"] = artifact(graph(), weights(), opset=int(cell.split("opset")[1].partition("-")[0]))
    if status is Status.PASSED:
        fields["checks"] = checks()
    if status is Status.CHECK_FAILED:
        wrong = Check(
            id="parity", status=CheckStatus.FAILED, detail="logits is 8 off at [0, 3]", measured=8.0, threshold=3.4e-5
        )
        fields |= {"reason": "parity: logits is 8 off at [0, 3]", "checks": checks(parity=wrong)}
    if status in ERRORS:
        stage, kind, message = ERRORS[status]
        fields |= {"reason": f"{stage}: {message}", "error": CellError(stage=stage, kind=kind, message=message)}
    return CellResult(cell=cell, status=status, **(fields | changed))


ERRORS: Mapping[Status, tuple[Stage, str, str]] = {
    Status.EXPORT_FAILED: (Stage.CAPTURE, "UserError", "Could not guard on data-dependent expression u0 > 3"),
    Status.CRASHED: (Stage.EMIT, "signal", "the process was killed by SIGSEGV"),
    Status.TIMEOUT: (Stage.CAPTURE, "deadline", "it took longer than 600 s"),
    Status.OOM: (Stage.VERIFY, "memory", "the process tree used more than 8.59 GB"),
    Status.INFRA_ERROR: (Stage.EMIT, "disk_full", "The disk is full"),
}


def warning(text: str = "Converting a tensor to a Python boolean") -> Finding:
    return Finding(kind="exporter_warning", message=text, source="models/resnet.py:12")


def started() -> RunStarted:
    return RunStarted(
        run_id="20260102T030405Z-abcdef",
        time="2026-01-02T03:04:05Z",
        command=("python", "-m", "orchestrator", "+model=resnet50"),
        versions={"orchestrator": "0.1.0", "torch": "2.15.0", "onnx": "1.23.2"},
        host={"system": "Linux", "cores": 2, "memory": 25_000_000_000, "gpu": None},
    )


def ended(status: RunStatus = RunStatus.FINISHED, exit_code: int = 0) -> RunFinished:
    return RunFinished(time="2026-01-02T03:07:17Z", status=status, exit_code=exit_code)


def ledger(*results: CellResult, end: RunFinished | None = None) -> list[Record]:
    return [started(), *(CellFinished(result=each) for each in results), end or ended()]


def every_status() -> tuple[Plan, list[Record]]:
    """A plan with a cell of each status, a known issue met, one gone, one expired, a skipped target; and its ledger."""
    known = [
        KnownIssue(cells="early_exit-*", status=Status.EXPORT_FAILED, reason="tracing cannot branch on values", owner="zoo"),
        KnownIssue(cells="lstm-dynamo-*", status=Status.CHECK_FAILED, reason="the length was baked in before torch 2.15"),
        KnownIssue(cells="gpt2-*", status=Status.CHECK_FAILED, reason="attention mask", expires="2026-01-01"),
    ]
    plans = [
        (unit("resnet50", "dynamo", (18, 20)), Status.PASSED, {}),
        (unit("mobilenet_v3_small", "torchscript_script"), Status.PASSED, {}),
        (unit("lstm", "dynamo", known_issues=known), Status.PASSED, {}),
        (unit("early_exit", "torchscript", known_issues=known), Status.EXPORT_FAILED, {}),
        (unit("gpt2", "torchscript", known_issues=known), Status.CHECK_FAILED, {}),
        (unit("minilm", "dynamo", (17,)), Status.CHECK_FAILED, _wrong_opset()),
        (unit("segfault", "dynamo"), Status.CRASHED, {"attempts": 2}),
        (unit("sleeper", "dynamo"), Status.TIMEOUT, {}),
        (unit("glutton", "torchscript"), Status.OOM, {}),
        (unit("filler", "dynamo"), Status.INFRA_ERROR, {}),
        (unit("draft", "dynamo"), Status.UNVERIFIED, {}),
        (unit("mobilenet_v3_small", "dynamo", targets=(CUDA,)), Status.SKIPPED, {"reason": "no node has a CUDA device"}),
        (unit("vit_b_16", "dynamo"), Status.EXPORT_FAILED, {}),
    ]
    results = [result(cell.id, status, **more) for each, status, more in plans for cell in each.cells]
    return plan(*(each for each, _, _ in plans)), ledger(*results, end=ended(exit_code=1))


def worse_than_accepted() -> tuple[Plan, list[Record]]:
    """A plan of two cells whose outcomes were compared: one passed and grew, one was good enough, a third is gone."""
    units = (unit(), unit("lstm"))
    records = ledger(*(result(cell.id) for each in units for cell in each.cells), end=ended(exit_code=1))
    regressions = (
        Regression(cell=units[0].cells[0].id, rule=Rule.SIZE, message="102 MB → 204 MB (+1e+02 %); accepted in 20260101"),
        Regression(
            cell="gpt2-dynamo-opset20-float32-cpu", rule=Rule.GONE, message="it was passed, and is not planned any more"
        ),
    )
    records.insert(-1, BaselineCompared(compared=2, regressions=regressions))
    return plan(*units), records


def _wrong_opset() -> dict[str, Any]:
    detail = "the file is opset 18, asked for was 17"
    return {
        "reason": f"structure: {detail}",
        "artifact": artifact(graph(), weights(), opset=18),
        "checks": checks(structure=Check(id="structure", status=CheckStatus.FAILED, detail=detail)),
        "findings": (warning(),),
    }
