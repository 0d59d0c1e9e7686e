from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.report.matrix import Matrix
from orchestrator.report.progress import Progress
from orchestrator.result import CellFinished, Stage, StageStarted, Status
from orchestrator.spec import KnownIssue, Plan, Unit
from tests import synthetic


def units(*models: str, opsets: Iterable[int] = (18, 20, 23)) -> list[Unit]:
    known = KnownIssue(cells="early_exit-torchscript-*", status=Status.EXPORT_FAILED, reason="known")
    return [synthetic.unit(m, e, opsets, known_issues=(known,)) for m in models for e in ("dynamo", "torchscript")]


def drawn(plan: Plan, progress: Progress, width: int = 80, height: int = 20, ascii_only: bool = False) -> list[str]:
    lines = Matrix(plan, ascii_only).lines(progress, width, height)
    assert len(lines) <= height
    assert all(line.cell_len <= width for line in lines)
    return [line.plain.rstrip() for line in lines]


def follow(plan: Plan) -> Progress:
    return Progress(plan, lambda: 0.0)


def end(progress: Progress, cell: str, status: Status = Status.PASSED) -> None:
    progress.on_event(CellFinished(result=synthetic.result(cell, status)))


def test_a_model_is_a_row_and_an_opset_of_an_exporter_a_column() -> None:
    plan = synthetic.plan(*units("early_exit", "lstm"), synthetic.unit("vit", targets=(synthetic.CPU,), skip="no node has it"))
    progress = follow(plan)
    end(progress, "early_exit-dynamo-opset18-float32-cpu")
    end(progress, "early_exit-dynamo-opset23-float32-cpu", Status.CHECK_FAILED)
    end(progress, "early_exit-torchscript-opset20-float32-cpu", Status.EXPORT_FAILED)
    progress.on_event(StageStarted(unit="lstm-dynamo-float32", cell=None, stage=Stage.CAPTURE))
    progress.on_event(
        StageStarted(unit="lstm-torchscript-float32", cell="lstm-torchscript-opset18-float32-cpu", stage=Stage.EMIT)
    )
    assert drawn(plan, progress) == [
        "              dynamo    torchscript",
        "              18 20 23  18 20 23",
        "  early_exit  ✔  ·  ✘   ·  ~  ·",
        "  lstm        c  c  c   e  ·  ·",
        "  vit            -",
    ]
    assert drawn(plan, progress, ascii_only=True)[2:] == [
        "  early_exit  +  .  x   .  ~  .",
        "  lstm        c  c  c   e  .  .",
        "  vit            -",
    ]


def test_unexpected_ends_are_red_and_known_ones_yellow() -> None:
    plan = synthetic.plan(*units("early_exit"))
    progress = follow(plan)
    end(progress, "early_exit-dynamo-opset18-float32-cpu", Status.CRASHED)
    end(progress, "early_exit-torchscript-opset18-float32-cpu", Status.EXPORT_FAILED)
    row = Matrix(plan, False).lines(progress, 80, 20)[2]
    styles = {row.plain[span.end - 1]: span.style for span in row.spans}
    assert styles == {"✘": "bold red", "~": "yellow", "·": "dim"}


def test_what_the_run_has_several_of_is_told_with_the_model() -> None:
    half = replace(synthetic.unit("lstm", opsets=()), dtype="float16", id="lstm-dynamo-float16")
    half = replace(half, cells=(replace(synthetic.unit("lstm").cells[0], id="lstm-dynamo-opset20-float16-cpu"),))
    both = synthetic.unit("vit", targets=(synthetic.CPU, synthetic.CUDA))
    swept = synthetic.unit("vit", swept=(("model.layers", "2"),))
    plan = synthetic.plan(synthetic.unit("lstm"), half, both, replace(swept, id="vit-swept"))
    assert [line.split("  ")[1] for line in drawn(plan, follow(plan))[2:]] == [
        "lstm float32 cpu",
        "lstm float16 cpu",
        "vit float32 cpu",
        "vit float32 cuda",
        "vit float32 cpu model.layers=2",
    ]


def test_rows_at_work_and_rows_with_failures_stay_in_sight_then_those_where_a_cell_ended_last() -> None:
    plan = synthetic.plan(*units(*(f"model{n:02}" for n in range(40))))
    progress = follow(plan)
    for n in range(20):
        end(progress, f"model{n:02}-dynamo-opset18-float32-cpu", Status.CRASHED if n == 7 else Status.PASSED)
    progress.on_event(StageStarted(unit="model33-dynamo-float32", cell=None, stage=Stage.BUILD))
    lines = drawn(plan, progress, height=7)
    assert [line.split()[0] for line in lines[2:-1]] == ["model07", "model18", "model19", "model33"]
    assert lines[-1] == "  and 36 more models"


def test_a_new_run_shows_its_first_rows() -> None:
    plan = synthetic.plan(*units(*"abcdef"))
    lines = drawn(plan, follow(plan), height=5)
    assert [line.split()[0] for line in lines[2:-1]] == ["a", "b"]
    assert lines[-1] == "  and 4 more models"


def test_columns_that_do_not_fit_are_counted() -> None:
    plan = synthetic.plan(*units("lstm", "vit"))
    assert drawn(plan, follow(plan), width=20) == [
        "        dynamo    to",
        "        18 20 23  18",
        "  lstm  ·  ·  ·   ·",
        "  vit   ·  ·  ·   ·",
        "  and 2 more columns",
    ]
    plan = synthetic.plan(*units("lstm", "vit", "t5", "gpt2"))
    assert drawn(plan, follow(plan), width=25, height=5)[-1] == "  and 2 more models, 1 m…"


def test_a_long_exporter_name_has_room_above_one_opset() -> None:
    plan = synthetic.plan(synthetic.unit("lstm", "torchscript_script"), synthetic.unit("lstm", "dynamo"))
    assert drawn(plan, follow(plan)) == [
        "        torchscript_script  dynamo",
        "        20                  20",
        "  lstm  ·                   ·",
    ]


def test_a_name_takes_at_most_half_the_width_and_no_control_of_the_terminal() -> None:
    plan = synthetic.plan(*units("x\x1b[2J" + "漢" * 50))
    label = drawn(plan, follow(plan), width=40)[2]
    assert label.startswith("  x\\x1b[2J漢漢漢漢漢")
    assert label.endswith("…  ·  ·  ·   ·  ·")


def test_what_no_ascii_can_say_is_escaped_and_cut_without_a_sign() -> None:
    plan = synthetic.plan(*units("漢" * 50))
    assert drawn(plan, follow(plan), width=40, ascii_only=True)[2] == "  \\u6f22\\u6f22\\u6f22\\u  .  .  .   .  ."
