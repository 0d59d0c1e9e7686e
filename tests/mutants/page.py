"""docs/mutants.md and its picture, made of the outcomes: `python -m tests.mutants.page RESULT.json`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.report.markdown import escape
from orchestrator.verify.registry import CHECKS
from tests.mutants import heat_map, score
from tests.mutants.outcome import Benchmark, Outcome, read
from tests.mutants.studied import REASONS

DOCS = Path(__file__).parents[2] / "docs"
PAGE, PICTURE = DOCS / "mutants.md", DOCS / "images" / "mutants.svg"
HEAD = """\
# The mutation benchmark: is the verifier any good?

A verifier is worth what it catches. Good artifacts of small models are damaged in one place each, in every way that is known to
happen; the verifier must say no, and name the right check. Good artifacts are also changed harmlessly, and must pass.

    $ make mutants JSON=mutants.json
    $ python -m tests.mutants.page mutants.json

- **Subjects**: artifacts of both exporters (and of scripting, where only it keeps a loop or a branch) from {models} models:
  {names}. Seeds and models are not those with which the checks were tuned
  (`--tuning`).
- **Mutants**: for each fault and artifact at most two places, drawn from a seed; the copy is written, and judged by its files
  at the standard level, in a process of its own.
- **Equivalent mutants do not count**: a fault of numbers counts only if the damaged graph departs from the good one by more
  than 8 ulp of float32, on up to 26 sets of inputs that the verifier never sees: in ONNX Runtime without optimisations where
  it is clear, else in float64 by ONNX's reference evaluator.
- Each line below is computed from the recorded set of failing checks of each mutant (`tests/mutants/score.py`).
"""


def render(benchmark: Benchmark) -> str:
    """The page."""
    outcomes = benchmark.outcomes
    names = dict.fromkeys(one.model for one in outcomes)
    head = HEAD.format(models=len(names), names=", ".join(names))
    parts = (
        _figures(benchmark),
        _classes(outcomes),
        _only(outcomes),
        _others(outcomes),
        _survivors(outcomes),
        _equivalent(outcomes),
    )
    made = ", ".join(f"{name} {version}" for name, version in benchmark.versions.items())
    return "\n".join([head, *(line for part in parts for line in part), f"Made with {escape(made)}."]) + "\n"


def _figures(benchmark: Benchmark) -> Iterator[str]:
    yield from ("## Figures", "", "| what | reach | measured |", "| :-- | :-- | :-- |")
    for row in score.rows(benchmark):
        yield f"| {escape(row.what.strip())} | {escape(row.reach)} | {escape(row.measured)} |"
    yield ""


def _classes(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield from (
        "## Which check catches which fault",
        "",
        f"![Share of the mutants by fault and check](images/{PICTURE.name})",
        "",
    )
    yield "| fault | must be caught by | mutants | caught | by it | caught by it alone |"
    yield "| :-- | :-- | --: | --: | --: | --: |"
    for fault, ones in score.classes(outcomes).items():
        alone = sum(one.named and len(one.failing) == 1 for one in ones)
        caught, named = sum(one.caught for one in ones), sum(one.named for one in ones)
        check = ones[0].check if ones else ""
        yield f"| {escape(fault)} | {check} | {len(ones)} | {caught} | {named} | {alone} |"
    yield ""


def _only(outcomes: Sequence[Outcome]) -> Iterator[str]:
    counted = score.counting(outcomes)
    caught = sum(one.caught for one in counted)
    yield from ("## What the removal of a check would cost", "", "| without | score | mutants lost | for example |")
    yield "| :-- | --: | --: | :-- |"
    yield f"| nothing | {score.share(caught, len(counted))} | | |"
    for check, lost in score.without(outcomes).items():
        alone = [one for one in counted if list(one.failing) == [check]]
        faults = ", ".join(dict.fromkeys(one.fault for one in alone))
        yield f"| {check} | {score.share(caught - lost, len(counted))} | {lost} | {escape(faults)} |"
    rest = [check for check in CHECKS if check not in score.SOLE]
    yield from ("", f"No fault of the list is meant for {' and '.join(rest)}.", "")


def _others(outcomes: Sequence[Outcome]) -> Iterator[str]:
    counted, good = score.counting(outcomes), [one for one in outcomes if one.kind != "mutant"]
    found = score.others(outcomes)
    yield from ("## The same artifacts, judged by others", "", f"| | {' | '.join(map(escape, found))} | this verifier |")
    yield f"| :-- |{' --: |' * (len(found) + 1)}"
    checks = dict.fromkeys(one.check for one in counted)
    for check in checks:
        ones = [one for one in counted if one.check == check]
        cells = [score.share(sum(one.others.get(tool, False) for one in ones), len(ones)) for tool in found]
        yield f"| faults of {check} | {' | '.join(cells)} | {score.share(sum(one.caught for one in ones), len(ones))} |"
    totals = [score.share(objected, len(counted)) for objected, _ in found.values()]
    yield f"| all {len(counted)} | {' | '.join(totals)} | {score.share(sum(one.caught for one in counted), len(counted))} |"
    alarms = [str(wrongly) for _, wrongly in found.values()]
    yield f"| alarms on {len(good)} good artifacts | {' | '.join(alarms)} | {len(score.alarms(outcomes))} |"
    yield from ("", NOTE, "")


NOTE = """\
Each is given what it compares on the example of the export: eager's outputs and the artifact's, in order. torch's own
comparison (thresholds 5e-3 absolute, 1e-1 relative) works in memory, before anything is written: the faults of delivery it
could not see at all. Polygraphy compares with its defaults (1e-5)."""


def _survivors(outcomes: Sequence[Outcome]) -> Iterator[str]:
    found = score.survivors(outcomes)
    yield from ("## Survivors", "")
    if not found:
        yield from ("None.", "")
        return
    yield from ("| fault | where | distance | why |", "| :-- | :-- | --: | :-- |")
    for one in found:
        place = f"{one.model} {one.exporter} opset {one.opset}: {one.where}"
        distance = "" if one.distance is None else f"{one.distance:.1e}"
        yield f"| {escape(one.fault)} | {escape(place)} | {distance} | {escape(REASONS.get(one.fault, 'not studied'))} |"
    yield ""


def _equivalent(outcomes: Sequence[Outcome]) -> Iterator[str]:
    equivalent = [one for one in outcomes if one.equivalent]
    yield from (
        "## Equivalent mutants, which do not count",
        "",
        "The verifier need not object to them. That it objects to other weights is no alarm: other bits are other weights.",
        "",
        "| fault | equivalent | objected to | where |",
        "| :-- | --: | --: | :-- |",
    )
    for fault in dict.fromkeys(one.fault for one in equivalent):
        ones = [one for one in equivalent if one.fault == fault]
        places = "; ".join(f"{one.model} {one.exporter}: {one.where}" for one in ones)
        yield f"| {escape(fault)} | {len(ones)} | {sum(one.caught for one in ones)} | {escape(places)} |"
    yield ""


def main(path: Path) -> None:
    """Write both."""
    benchmark = read(path)
    PAGE.write_text(render(benchmark), encoding="utf-8")
    PICTURE.write_text(heat_map.render(benchmark), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
