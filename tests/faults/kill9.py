"""`kill -9` at random moments under load: of every answer that a client has whole, every record is in the store."""

from __future__ import annotations

import asyncio
import random
from itertools import count
from pathlib import Path

import httpx

from tests.answers.turn import streaming
from tests.faults.apis import APIS, events_of
from tests.faults.ledger import judge
from tests.faults.report import Report
from tests.faults.scene import Scene, scene

ROUNDS = 100
SHORT_ROUNDS = 5
CLIENTS = 8
LATEST_S = 0.4
"""The gateway dies within so many seconds after the first answer."""


async def kill9(report: Report, folder: Path, *, short: bool) -> None:
    await kill_rounds(report, folder, SHORT_ROUNDS if short else ROUNDS)


async def kill_rounds(report: Report, folder: Path, rounds: int) -> None:
    """Start, load, kill; the next start adopts what was left. At the end an orderly stop, and the count."""
    rng = random.Random(9)
    delivered: set[int] = set()
    numbers = count()
    left = 0
    async with scene(folder, lambda request: streaming(events_of(request))) as one:
        for _ in range(rounds):
            await one.start()
            await _load_until_killed(one, numbers, delivered, rng.uniform(0, LATEST_S))
            left += bool(list(one.journal.glob("*/*.journal")))
        await one.start()
        status = await one.stop()
        report.did(
            f"killed the gateway {rounds} times under {CLIENTS} clients; {left} times a journal was left"
        )
        report.require(status == 0, f"the last one ended with status {status}")
        report.require(not list(one.journal.glob("*/*.journal")), "the journal was not stored to its end")
        report.require(len(delivered) >= rounds, "there was hardly any load")
        judge(report, one.database, delivered)


async def _load_until_killed(one: Scene, numbers: count[int], delivered: set[int], seconds: float) -> None:
    first = asyncio.Event()

    async def ask_on() -> None:
        while True:
            number = next(numbers)
            try:
                status = await one.ask(APIS[number % len(APIS)], number)
            except httpx.HTTPError:
                return  # it is dead
            assert status == 200, status
            delivered.add(number)
            first.set()

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(ask_on())
        await first.wait()
        await asyncio.sleep(seconds)
        await one.kill()
