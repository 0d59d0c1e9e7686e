"""How a person reads a report: its sentences, its numbers, and text from elsewhere made visible.

Knows neither terminal nor Markdown; both take their words from here.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from orchestrator.report.agreement import Agreement
from orchestrator.report.summary import CellReport, Report, gone, unexpected
from orchestrator.result import Check, CheckStatus, Origin, Speed, Status
from orchestrator.store.ledger import RunStatus

FAILING = (CheckStatus.FAILED, CheckStatus.ERROR)
GOOD = (Status.PASSED, Status.SKIPPED, Status.UNVERIFIED)
NOTED = {"known_issue": "known issue", "known_issue_passed": "no longer an issue", "latency": "latency"}
"""Findings that get a line of their own in every report, and what they are called there."""


FIRST_TIME = "first time"
"""Why a cell is exported that never was, see `keys.explain`."""


class Note(NamedTuple):
    """Something worth a line beside the table."""

    kind: str
    """known issue, no longer an issue, latency, skipped, exported."""
    text: str
    cells: tuple[str, ...]
    """All cells of which it is true."""


def headline(report: Report) -> str:
    """The verdict in one sentence."""
    total, bad = len(report.cells), len(unexpected(report))
    cells = "1 cell" if total == 1 else f"{total} cells"
    match report.run.status:
        case RunStatus.RUNNING:
            return f"Not finished: {_done(report)} of {cells} have an outcome"
        case RunStatus.INTERRUPTED:
            return f"Interrupted: {_done(report)} of {cells} have an outcome"
        case RunStatus.REFUSED:
            return f"Ended by the environment: {_done(report)} of {cells} have an outcome"
        case RunStatus.FINISHED:
            return _verdict(report, bad)


def count(number: int, noun: str) -> str:
    """`1 cell`, `84 cells`."""
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


def tally(counts: Mapping[Status, int]) -> list[tuple[Status, int]]:
    """The statuses that occur, with how often, the best first."""
    return [(status, count) for status, count in counts.items() if count]


def failures(report: Report) -> list[CellReport]:
    """The cells that need someone's attention, without those that an ended run never reached."""
    return [cell for cell in unexpected(report) if cell.attempts or cell.regressions]


def notes(report: Report) -> list[Note]:
    """What else a reader should know, each text once: known issues, latencies, why cells were exported or skipped."""
    cells: dict[tuple[str, str], list[str]] = defaultdict(list)
    for cell in report.cells:
        for finding in cell.findings:
            if kind := NOTED.get(finding.kind):
                cells[kind, finding.message].append(cell.id)
        if cell.speed:
            cells["latency", speed(cell.speed)].append(cell.id)
        if cell.status is Status.SKIPPED:
            cells["skipped", cell.reason].append(cell.id)
    whys = {cell.id: cell.why_exported for cell in report.cells if cell.why_exported}
    # Where everything is new there is nothing to explain.
    for cell_id, why in whys.items() if {*whys.values()} != {FIRST_TIME} else ():
        cells["exported", why].append(cell_id)
    return [Note(kind, text, tuple(named)) for (kind, text), named in cells.items()]


def took(cell: CellReport) -> str:
    """How long a cell took, or where its outcome comes from if not from work."""
    if cell.origin is not Origin.RAN:
        return {Origin.CACHE: "cached", Origin.RESUMED: "before"}[cell.origin]
    return duration(cell.durations["total"]) if "total" in cell.durations else ""


def problems(cell: CellReport) -> list[str]:
    """What went wrong, a line each: the reason, the error and the failed checks, none said twice."""
    lines = [cell.reason]
    lines += [f"{cell.error.kind}: {cell.error.message}"] if cell.error and cell.error.message not in cell.reason else []
    lines += [
        f"{check.id}: {check.detail}" for check in cell.checks if check.status in FAILING and check.detail not in cell.reason
    ]
    lines += [f"baseline, {regression.rule}: {regression.message}" for regression in cell.regressions]
    lines += [finding.message for finding in cell.findings if finding.kind in ("known_issue_expired", "known_issue_differs")]
    return [line for line in lines if line]


def worst(checks: Iterable[Check]) -> Check | None:
    """The check that came nearest to its bound, or passed it furthest; None if nothing was measured."""
    bounded = [check for check in checks if check.threshold is not None]
    return max(bounded, key=_share, default=None)


def error_and_bound(checks: Iterable[Check]) -> str:
    """The worst error and its bound: `1.2e-06 of 3.4e-05`."""
    check = worst(checks)
    if check is None:
        return ""
    return f"{_number(check.measured)} of {_number(check.threshold)}"


def status(cell: CellReport) -> str:
    """The status; that it is known where it is bad and known, that it is worse than accepted where it is good."""
    if cell.regressions and cell.status in GOOD:
        return f"{cell.status} (worse)"
    return f"{cell.status} (known)" if cell.expected and cell.status not in GOOD else cell.status


def opset(cell: CellReport) -> str:
    """The opset that was asked for, and the one of the file if it is another."""
    known = dict.fromkeys(opset for opset in (cell.opset, cell.opset_actual) if opset is not None)
    return " → ".join(map(str, known))


def speed(measured: Speed) -> str:
    """Time and memory beside eager's, in one line."""
    seconds, theirs = (1000 * value for value in (measured.artifact_seconds, measured.eager_seconds))
    memory, eager = size(measured.artifact_bytes), size(measured.eager_bytes)
    how = f"{measured.pairs} pairs, {count(measured.threads, 'thread')}"
    return f"{seconds:.3g} ms, {measured.ratio:.2f} x eager's {theirs:.3g} ms; {memory} of memory, eager {eager}; {how}"


def agreement(pair: Agreement) -> str:
    """How far two exporters answer the same."""
    if pair.equal == pair.probes:
        return f"the same bits on all probes ({pair.probes})"
    elsewhere = f"elsewhere apart by {100 * pair.apart:.2g} % of the bound at most"
    return f"the same bits on {pair.equal} of {pair.probes} probes, {elsewhere}"


def size(count: int) -> str:
    """Bytes in decimal units: 102.5 MB."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def duration(seconds: float) -> str:
    """Seconds as a person says them: 8.4 s, 3 min 12 s, 2 h 05 min."""
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def roughly(seconds: float) -> str:
    """Seconds as a person guesses them, no finer than the guess: 40 s, 12 min, 1 h 20 min."""
    tens, minutes = max(1, math.ceil(seconds / 10)), round(seconds / 60)
    if tens < 12:
        return f"{tens}0 s"
    if minutes < 60:
        return f"{minutes} min"
    hours, fives = divmod(round(seconds / 300), 12)
    return f"{hours} h {fives * 5:02d} min"


def elapsed(report: Report) -> str:
    """How long the run took; empty while it has no end."""
    if report.run.finished is None:
        return ""
    took = datetime.fromisoformat(report.run.finished) - datetime.fromisoformat(report.run.started)
    return duration(took.total_seconds())


def visible(text: str) -> str:
    """Text from a model, a config or a log on one line, with nothing in it that a terminal would obey."""
    return "".join(c if c.isprintable() else " " if c.isspace() else c.encode("unicode_escape").decode() for c in text)


def _done(report: Report) -> int:
    return sum(cell.attempts > 0 or cell.expected for cell in report.cells)


def _verdict(report: Report, bad: int) -> str:
    total, missing = len(report.cells), len(gone(report))
    if missing:
        ended = f"{bad} of {total} cells did not end as expected" if bad else f"All {total} cells ended as expected"
        return f"{ended}, and {missing} of the baseline {'is' if missing == 1 else 'are'} gone"
    if total == 1:
        (cell,) = report.cells
        return f"{visible(cell.id)} {status(cell)}"
    if not bad:
        return f"All {total} cells ended as expected"
    return f"{bad} of {total} cells did not end as expected"


def _share(check: Check) -> float:
    if check.measured is None:
        # JSON has no infinity: a failed check without its figure had none that is finite.
        return math.inf if check.status in FAILING else -math.inf
    if not check.threshold:
        return math.inf if check.measured else 0.0
    return check.measured / check.threshold


def _number(value: float | None) -> str:
    return "∞" if value is None or not math.isfinite(value) else f"{value:.1e}" if value else "0"
