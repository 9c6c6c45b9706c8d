"""The disk is full, for the journal, for dumps, for SQLite: what the settings say happens, and the gateway lives."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.answers.turn import streaming
from tests.faults.apis import APIS, events_of
from tests.faults.ledger import judge, rows
from tests.faults.report import Report
from tests.faults.scene import Scene, scene
from tests.faults.small_disk import CannotMountError, fill, make_room, small_disk
from tests.upstream import Received, Reply

WITH_ROOM = 4
PADDING = 40_000
"""Bytes of a prompt, so that a few requests fill a file of the journal."""


async def disk_full(report: Report, folder: Path, *, short: bool) -> None:
    requests = 30 if short else 100
    try:
        with small_disk(folder / "tiny", "4m") as disk:
            await _no_room_to_start(report, folder / "start", disk)
        with small_disk(folder / "refuse", "4m") as disk:
            await _refuses(report, folder / "refusing", disk, requests)
        with small_disk(folder / "unrecorded", "4m") as disk:
            await _goes_on_unrecorded(report, folder / "going-on", disk, requests)
        with small_disk(folder / "dumps", "1m") as disk:
            await _without_dumps(report, folder / "dumping", disk, requests)
        with small_disk(folder / "database", "48m") as disk:
            await _without_database(report, folder / "storing", disk, requests)
    except CannotMountError as reason:
        report.did(f"left out, for a small file system can't be mounted here: {reason}")


def _answer(request: Received) -> Reply:
    return streaming(events_of(request))


async def _statuses(one: Scene, requests: int, disk: Path) -> dict[int, int]:
    """Requests one after the other; but for the first few, the disk is filled again before each."""
    statuses: dict[int, int] = {}
    for number in range(requests):
        if number >= WITH_ROOM:
            fill(disk)
        statuses[number] = await one.ask(APIS[number % len(APIS)], number, padding=PADDING)
    return statuses


async def _recovers(one: Scene, number: int) -> bool:
    """Whether the gateway takes requests again within some seconds, by itself."""
    for attempt in range(50):
        if await one.ask(APIS[0], number + attempt) == 200:
            return True
        await asyncio.sleep(0.1)
    return False


async def _no_room_to_start(report: Report, folder: Path, disk: Path) -> None:
    async with scene(folder, _answer, journal_dir=str(disk / "journal")) as one:
        await one.launch()
        assert one.process is not None
        status = await one.process.ended()
        report.did(f"no room for the journal at start: exit status {status}, {one.process.log[-1]}")
        report.require(status == 1, f"exit status {status}")
        report.require(str(disk) in one.process.log[-1], "the error doesn't name the path")
        report.require(len(one.process.log) == 1, "the error is more than one line")


async def _refuses(report: Report, folder: Path, disk: Path, requests: int) -> None:
    settings = {"journal_dir": str(disk / "journal"), "journal_max_bytes": "2MiB"}
    async with scene(folder, _answer, **settings) as one:
        await one.start()
        statuses = await _statuses(one, requests, disk)
        delivered = {number for number, status in statuses.items() if status == 200}
        report.did("journal full, journal_full=refuse:")
        report.counted(answered=len(delivered), refused_with_503=list(statuses.values()).count(503))
        report.require(set(statuses.values()) == {200, 503}, f"statuses {sorted(set(statuses.values()))}")
        report.require(len(one.upstream.requests) == len(delivered), "a refused request went upstream")
        _names(report, one, disk)
        make_room(disk)
        report.require(await _recovers(one, 10_000), "it doesn't recover when there is room")
        report.require(await one.stop() == 0, "it didn't end in order")
        judge(report, one.database, delivered)


async def _goes_on_unrecorded(report: Report, folder: Path, disk: Path, requests: int) -> None:
    settings = {
        "journal_dir": str(disk / "journal"),
        "journal_max_bytes": "2MiB",
        "journal_full": "unrecorded",
    }
    async with scene(folder, _answer, **settings) as one:
        await one.start()
        statuses = await _statuses(one, requests, disk)
        make_room(disk)
        report.require(await one.stop() == 0, "it didn't end in order")
        ((whole, halves),) = rows(
            one.database,
            "SELECT count(*), count(*) - count(started_at || ended_at) FROM aibridge_interceptions",
        )
        report.did("journal full, journal_full=unrecorded:")
        report.counted(answered=list(statuses.values()).count(200), recorded=whole, recorded_by_halves=halves)
        report.require(set(statuses.values()) == {200}, f"statuses {sorted(set(statuses.values()))}")
        report.require(whole < requests, "the disk was not full")
        report.require(not halves, f"{halves} interceptions are recorded by halves")
        _names(report, one, disk)


async def _without_dumps(report: Report, folder: Path, disk: Path, requests: int) -> None:
    async with scene(folder, _answer, dump_dir=str(disk / "dumps")) as one:
        await one.start()
        statuses = await _statuses(one, requests, disk)
        report.require(await one.stop() == 0, "it didn't end in order")
        report.did("dumps on a full disk:")
        report.require(set(statuses.values()) == {200}, f"statuses {sorted(set(statuses.values()))}")
        _names(report, one, disk)
        judge(report, one.database, statuses)


async def _without_database(report: Report, folder: Path, disk: Path, requests: int) -> None:
    async with scene(folder, _answer) as one:
        one.database = disk / "gateway.db"
        await one.start()
        statuses = await _statuses(one, requests, disk)
        report.did("SQLite on a full disk:")
        report.require(set(statuses.values()) == {200}, f"statuses {sorted(set(statuses.values()))}")
        assert one.process is not None
        # Nobody waits for the drain, so it may come to it later.
        await one.process.logged("storing records failed")
        _names(report, one, disk)
        make_room(disk)
        report.require(await one.stop() == 0, "it didn't end in order")
        judge(report, one.database, statuses)


def _names(report: Report, one: Scene, disk: Path) -> None:
    lines = [
        line for line in one.log.splitlines() if str(disk) in line and ("space" in line or "full" in line)
    ]
    report.require(bool(lines), f"no line of the log says that {disk} is full: {one.log[-500:]}")
    if lines:
        report.did(f"its log: {lines[0][25:]}")
