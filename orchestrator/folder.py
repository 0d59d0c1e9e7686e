"""A run folder while it is written: the plan and the ledger, which are the truth, and what is derived from them.

Names and paths are `layout`'s, artifacts are `deliver`'s business. Two writers of one folder are not handled.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace as changed
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath

import msgspec

from orchestrator import baseline, layout, runs, statement
from orchestrator.baseline import Baseline
from orchestrator.deliver import Delivery
from orchestrator.errors import EnvironmentRefusedError, InterruptedRunError, StorageError
from orchestrator.report import html, json, junit, markdown, openmetrics
from orchestrator.report.summary import Report, delivered_graphs, exit_code, outcomes, summarise
from orchestrator.result import SCHEMA_VERSION, CellError, CellFinished, CellResult, Stage, Status
from orchestrator.spec import Plan
from orchestrator.store import ledger
from orchestrator.store.disk import DISK, Disk, make_folder, point, refusals, replace, replace_durably
from orchestrator.store.ledger import CellMeasured, Ledger, Record, RunFinished, RunResumed, RunStarted, RunStatus

EXIT_CODES = {
    RunStatus.INTERRUPTED: InterruptedRunError.exit_code,
    RunStatus.REFUSED: EnvironmentRefusedError.exit_code,
}


LOG_END = 4000
"""Bytes of a log that the page shows."""


class RunFolder:
    """The folder of a run that is going on."""

    def __init__(self, path: Path, plan: Plan, record: Ledger) -> None:
        self.path = path
        self._plan = plan
        self._ledger = record
        self._delivery = Delivery(path, plan)
        self._resumed = False

    @classmethod
    def create(cls, plan: Plan, hydra_files: Mapping[str, str], disk: Disk = DISK) -> RunFolder:
        """Make the folder of a new run, with its plan, its configuration and an empty ledger.

        Args:
            plan: The accepted plan; its settings say where the runs are.
            hydra_files: Texts for `.hydra/`, by file name.
            disk: A test's.

        Raises:
            StorageError: the disk refused.
        """
        path = Path(plan.settings.runs) / runs.new_id(datetime.now(UTC))
        with refusals(path):
            make_folder(path / layout.HYDRA, disk)
        for name, text in hydra_files.items():
            replace_durably(path / layout.HYDRA / name, text.encode(), disk)
        replace_durably(path / layout.PLAN, _plan_text(plan), disk)
        return cls(path, plan, Ledger.create(path / layout.LEDGER, disk))

    @classmethod
    def reopen(cls, path: Path, plan: Plan) -> tuple[RunFolder, list[Record]]:
        """Go on with a run that was ended early.

        Args:
            path: Of the folder.
            plan: From `read_plan`.

        Returns:
            The folder, and what is on record.

        Raises:
            EnvironmentRefusedError: the ledger is damaged, or another process is writing it.
            StorageError: the disk refused.
        """
        record, records = Ledger.reopen(path / layout.LEDGER)
        return cls(path, plan, record), records

    def resume(self, kept: Iterable[CellResult], changes: Sequence[str]) -> None:
        """Put on record that the run goes on, and deliver again what stands: the driver may have been killed while it did.

        Raises:
            StorageError: the disk refused, or the store has lost what stands.
        """
        self._resumed = True
        self._delivery.start_over()
        for result in kept:
            self._delivery.publish(result)
        self._ledger.append(RunResumed(time=_now(), changes=tuple(changes)))

    def start(self, command: Sequence[str], versions: Mapping[str, str], host: Mapping[str, str | int | float | None]) -> None:
        """Put the beginning on record; see `RunStarted` for the arguments."""
        digest = hashlib.sha256(_plan_text(self._plan)).hexdigest()
        self._ledger.append(
            RunStarted(run_id=self.path.name, time=_now(), command=tuple(command), versions=versions, host=host, plan=digest)
        )

    def finish_cell(self, result: CellResult) -> CellResult:
        """Deliver a cell and put it on record.

        Returns:
            What is on record: an infra_error if the store had lost or damaged what the cell handed over.

        Raises:
            StorageError: the disk refused; the run cannot go on.
        """
        if loss := self._loss_at_delivery(result):
            result = _lost(result, loss)
            self._delivery.publish(result)
        self._ledger.append(CellFinished(result=result))
        return result

    def finish_known(self, result: CellResult) -> bool:
        """Deliver a cell whose outcome was known before and put it on record.

        Returns:
            False if the store has lost or damaged something of it: then nothing is on record, and the cell is to be done.

        Raises:
            StorageError: the disk refused; the run cannot go on.
        """
        if self._loss_at_delivery(result):
            return False
        self._ledger.append(CellFinished(result=result))
        return True

    def _loss_at_delivery(self, result: CellResult) -> StorageError | None:
        """Deliver a cell; if the store has lost or damaged something of it, nothing is delivered, and this is what."""
        try:
            self._delivery.publish(result)
        except StorageError as error:
            if not error.is_loss:
                raise
            shutil.rmtree(self.path / layout.cell_folder(result.cell))
            return error
        return None

    def outcomes(self) -> dict[str, CellResult]:
        """What is on record of each cell that has an outcome."""
        return outcomes(ledger.read(self._ledger.path))

    def finish_measured(self, result: CellResult) -> None:
        """Put on record what `measure` says of a cell that has its outcome.

        Raises:
            StorageError: the disk refused.
        """
        self._ledger.append(CellMeasured(cell=result.cell, speed=result.speed, reason=result.reason))

    def compare(self, accepted: Baseline) -> None:
        """Put on record what is worse than what was accepted.

        Args:
            accepted: What was accepted before the run.

        Raises:
            StorageError: the disk refused.
        """
        report = summarise(self._plan, ledger.read(self._ledger.path))
        if compared := baseline.compare(accepted, self._plan, report):
            self._ledger.append(compared)

    def close(self, status: RunStatus) -> Report:
        """Put the end on record and write the reports; a run that finished becomes the latest.

        Raises:
            StorageError: the disk refused.
        """
        code = EXIT_CODES.get(status)
        if code is None:
            code = exit_code(summarise(self._plan, ledger.read(self._ledger.path)))
        self._ledger.append(RunFinished(time=_now(), status=status, exit_code=code))
        self._ledger.close()
        if self._resumed:
            # What the killed driver had placed and not recorded.
            results = outcomes(ledger.read(self._ledger.path)).values()
            self._delivery.remove_graphs_but(delivered_graphs(self._plan, results))
        report = write_reports(self.path)
        if status is RunStatus.FINISHED:
            point(self.path.parent / layout.LATEST, self.path.name)
        return report


def rebuild(path: Path) -> Report:
    """Write again everything that is derived from plan, ledger and store, by the same way as the run did.

    What is there with the right bytes stays, and so does what is not ours, except under the name of a graph that is not
    delivered.

    Raises:
        EnvironmentRefusedError: plan or ledger are damaged, the run is going on, or the folder is no run: nothing was
            written. Or the store has lost or damaged files: everything else was written.
    """
    plan = read_plan(path)
    with ledger.writers_kept_away(path / layout.LEDGER):
        results = list(outcomes(ledger.read(path / layout.LEDGER)).values())
        delivery = Delivery(path, plan)
        delivery.start_over()
        lost = {result.cell: errors for result in results if (errors := delivery.restore(result))}
        delivery.remove_graphs_but(delivered_graphs(plan, results))
        report = write_reports(path)
    if lost:
        raise EnvironmentRefusedError(_losses(path, lost))
    return report


def write_reports(path: Path) -> Report:
    """Write the reports of a run folder from its plan and its ledger.

    Raises:
        EnvironmentRefusedError: one of them is damaged, or the folder is no run.
    """
    plan, records = read_run(path)
    report = summarise(plan, records)
    for name, data in reports(path, plan, report).items():
        replace(path / name, data)
    _write_statements(path, plan, statement.statements(plan, records))
    return report


def reports(path: Path, plan: Plan, report: Report) -> dict[str, bytes]:
    """The reports of a run, by file name; the page also shows the ends of logs that lie in the run folder."""
    return {
        layout.REPORT_JSON: json.render(report),
        layout.REPORT_MARKDOWN: markdown.render(report).encode(),
        layout.JUNIT: junit.render(report),
        layout.METRICS: openmetrics.render(report),
        layout.REPORT_HTML: html.render(report, plan, partial(_end_of_log, path)),
    }


def read_run(path: Path) -> tuple[Plan, list[Record]]:
    """The plan and the ledger of a run folder.

    Raises:
        EnvironmentRefusedError: as `read_plan`, or the ledger is damaged, or empty.
    """
    plan, records = read_plan(path), ledger.read(path / layout.LEDGER)
    if not records:
        raise EnvironmentRefusedError(f"The run {path} never started: its ledger is empty.")
    return plan, records


def read_plan(path: Path) -> Plan:
    """The plan of a run folder.

    Raises:
        EnvironmentRefusedError: it is missing, damaged, of another version, or not the one that the ledger begins with.
    """
    stands = "Nothing can be rebuilt without it; what was delivered still stands, restore the file from a copy"
    try:
        data = (path / layout.PLAN).read_bytes()
        plan = msgspec.json.decode(data, type=Plan)
    except FileNotFoundError as error:
        raise EnvironmentRefusedError(f"{path} is no run folder: it has no {layout.PLAN}.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EnvironmentRefusedError(f"{path / layout.PLAN} is damaged or of another version: {error}. {stands}.") from error
    if plan.schema_version != SCHEMA_VERSION:
        raise EnvironmentRefusedError(f"{path / layout.PLAN} has schema {plan.schema_version}, this version {SCHEMA_VERSION}.")
    began = ledger.beginning(path / layout.LEDGER)
    if began and began.plan not in (None, hashlib.sha256(data).hexdigest()):
        raise EnvironmentRefusedError(f"{path / layout.PLAN} has other bytes than when the run began. {stands}.")
    return plan


def _end_of_log(path: Path, cell: str) -> str:
    try:
        with (path / layout.cell_folder(cell) / layout.EXPORT_LOG).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_END))
            return log.read().decode("utf-8", "replace")
    except OSError:
        # It never had one, or the file is gone: `audit` tells which.
        return ""


def _plan_text(plan: Plan) -> bytes:
    return msgspec.json.format(msgspec.json.encode(plan)) + b"\n"


def _write_statements(path: Path, plan: Plan, texts: Mapping[PurePosixPath, bytes]) -> None:
    """Put the statements beside what they are about; not among its checksums, since who signs them adds lines to the file."""
    for graph in {*layout.graph_paths(plan).values()}:
        name = layout.statement_path(graph)
        if name in texts and (path / graph).is_file():
            replace(path / name, texts[name])
        else:
            with refusals(path / name):
                (path / name).unlink(missing_ok=True)


def _lost(result: CellResult, error: StorageError) -> CellResult:
    """The outcome of a cell whose files are gone; nothing refers to them any more."""
    return changed(
        result,
        status=Status.INFRA_ERROR,
        reason=str(error),
        error=CellError(stage=Stage.VERIFY, kind=error.kind, message=str(error)),
        artifact=None,
        attachments=(),
    )


def _losses(path: Path, lost: Mapping[str, Sequence[StorageError]]) -> str:
    lines = [f"  {cell}: {error}" for cell, errors in lost.items() for error in errors]
    head = f"{path}: the reports are written, but not everything of {len(lost)} cells is there any more."
    return "\n".join([head, *lines])


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
