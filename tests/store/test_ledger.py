from __future__ import annotations

import errno
import json
import os
import threading
import zlib
from pathlib import Path

import pytest

from orchestrator.errors import EnvironmentRefusedError, StorageError
from orchestrator.result import CellFinished, CellResult, Status
from orchestrator.store.disk import Disk
from orchestrator.store.ledger import GROUP_RECORDS, Ledger, Record, RunFinished, RunResumed, RunStarted, RunStatus, read


def started() -> RunStarted:
    return RunStarted(
        run_id="20260102T030405Z-abcdef",
        time="2026-01-02T03:04:05Z",
        command=("orchestrator", "+model=resnet50"),
        versions={"torch": "2.15.0"},
        host={"cores": 2, "gpu": None},
    )


def finished(cell: str) -> CellFinished:
    return CellFinished(result=CellResult(cell=cell, status=Status.PASSED, reason=""))


def ended() -> RunFinished:
    return RunFinished(time="2026-01-02T03:05:05Z", status=RunStatus.FINISHED, exit_code=0)


RECORDS: list[Record] = [started(), finished("a"), finished("b\n\u2028|\0"), finished("c"), ended()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger.create(path)
    for record in RECORDS:
        ledger.append(record)
    ledger.close()
    return path


def test_records_come_back_as_they_went_in(path: Path) -> None:
    assert read(path) == RECORDS


def test_every_line_is_json_that_other_tools_can_read(path: Path) -> None:
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["number"] for line in lines] == [0, 1, 2, 3, 4]
    assert [line["record"]["type"] for line in lines] == ["RunStarted", *["CellFinished"] * 3, "RunFinished"]


def test_a_record_can_be_read_before_the_ledger_is_closed(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.jsonl")
    ledger.append(started())
    assert read(ledger.path) == [started()]
    ledger.close()


def test_wherever_the_file_is_torn_the_records_before_it_are_read(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert read(path) == RECORDS[: whole[:length].count(b"\n")]


def test_a_tail_of_zeros_is_dropped(path: Path) -> None:
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    path.write_bytes(whole[:last] + b"\0" * 40 + whole[last + 40 :])
    assert read(path) == RECORDS[:-1]
    path.write_bytes(whole + b"\0" * 512)
    assert read(path) == RECORDS


def test_every_flipped_byte_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    for position in range(len(whole) - 1):
        flipped = bytearray(whole)
        flipped[position] ^= 0x20
        path.write_bytes(flipped)
        with pytest.raises(EnvironmentRefusedError):
            read(path)


def test_damage_says_what_is_lost_and_what_stands(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"cell":"a"', b'"cell":"x"'))
    with pytest.raises(EnvironmentRefusedError) as caught:
        read(path)
    assert "1 records are lost (number 2)" in str(caught.value)
    assert "4 records stand, among them the outcomes of 2 cells" in str(caught.value)


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ([0, 2, 3, 4], "number 2"),
        ([1, 2, 3, 4], "number 1"),
        ([0, 2, 1, 3, 4], "out of order"),
        ([0, 1, 1, 2, 3, 4], "damaged"),
    ],
    ids=["lost", "first lost", "swapped", "doubled"],
)
def test_whole_lines_that_are_lost_or_moved_are_noticed(path: Path, order: list[int], says: str) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[number] for number in order))
    with pytest.raises(EnvironmentRefusedError, match=says):
        read(path)


def test_an_empty_ledger_has_no_records(tmp_path: Path) -> None:
    Ledger.create(tmp_path / "ledger.jsonl").close()
    assert read(tmp_path / "ledger.jsonl") == []


def test_a_record_of_another_version_is_refused(path: Path) -> None:
    entry = b'"number":5,"record":{"type":"RunPaused"}}'
    path.write_bytes(path.read_bytes() + b'{"crc32":"%08x",%b\n' % (zlib.crc32(entry), entry))
    with pytest.raises(EnvironmentRefusedError, match="another version"):
        read(path)


def test_a_ledger_is_not_started_over_another_one(path: Path) -> None:
    with pytest.raises(StorageError):
        Ledger.create(path)
    assert read(path) == RECORDS


class Syncs(Disk):
    """Counts syncs, tells when there was one, and may refuse."""

    def __init__(self, number: int | None = None) -> None:
        self.count, self.number, self.happened = 0, number, threading.Event()

    def sync(self, descriptor: int) -> None:
        self.count += 1
        self.happened.set()
        if self.number:
            raise OSError(self.number, os.strerror(self.number))
        super().sync(descriptor)


def test_a_single_record_is_synced_without_waiting_for_the_next(tmp_path: Path) -> None:
    disk = Syncs()
    ledger = Ledger.create(tmp_path / "ledger.jsonl", disk)
    ledger.append(started())
    assert disk.happened.wait(timeout=30)
    ledger.close()
    assert disk.count == 1


def test_a_burst_is_synced_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.store.ledger.GROUP_SECONDS", 3600)
    disk = Syncs()
    ledger = Ledger.create(tmp_path / "ledger.jsonl", disk)
    for number in range(2 * GROUP_RECORDS + 1):
        ledger.append(finished(str(number)))
    assert disk.count == 2
    ledger.close()
    assert disk.count == 3


def test_a_refused_sync_is_not_tried_again_and_ends_the_ledger(tmp_path: Path) -> None:
    disk = Syncs(errno.EIO)
    ledger = Ledger.create(tmp_path / "ledger.jsonl", disk)
    ledger.append(started())
    assert disk.happened.wait(timeout=30)
    with pytest.raises(StorageError, match=r"ledger\.jsonl"):
        ledger.append(finished("a"))
    with pytest.raises(StorageError):
        ledger.close()
    assert disk.count == 1


class HalfWrite(Disk):
    """Writes half of the second record, then the disk is full."""

    writes = 0

    def write(self, descriptor: int, data: memoryview) -> int:
        self.writes += 1
        if self.writes == 2:
            return super().write(descriptor, data[:30])
        if self.writes == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(descriptor, data)


def test_after_half_a_line_nothing_more_is_written_and_the_rest_is_readable(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.jsonl", HalfWrite())
    ledger.append(started())
    for _ in range(2):
        with pytest.raises(StorageError) as caught:
            ledger.append(finished("a"))
        assert caught.value.kind == "disk_full"
    with pytest.raises(StorageError):
        ledger.close()
    assert read(ledger.path) == [started()]


# Going on with one


def test_a_ledger_goes_on_where_its_writer_was_killed(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    ledger, records = Ledger.reopen(path)
    assert records == RECORDS[:-1]
    resumed = RunResumed(time="2026-01-02T04:00:00Z", changes=("torch 2.15.0 → 2.16.0",))
    ledger.append(resumed)
    ledger.append(ended())
    ledger.close()
    assert read(path) == [*RECORDS[:-1], resumed, ended()]


def test_a_ledger_has_one_writer(path: Path, tmp_path: Path) -> None:
    writing = Ledger.create(tmp_path / "other.jsonl")
    with pytest.raises(EnvironmentRefusedError, match="another process is writing it"):
        Ledger.reopen(tmp_path / "other.jsonl")
    writing.close()
    Ledger.reopen(tmp_path / "other.jsonl")[0].close()
    path.write_bytes(path.read_bytes().replace(b"RunStarted", b"RunStartet", 1))
    with pytest.raises(EnvironmentRefusedError, match="is damaged"):
        Ledger.reopen(path)
    path.write_bytes(b"")
    Ledger.reopen(path)[0].close()
