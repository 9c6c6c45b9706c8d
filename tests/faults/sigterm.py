"""SIGTERM with a hundred live streams: they end as if nothing were. A second one: the journal has them all."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

from tests.answers.turn import streaming
from tests.faults.apis import APIS, events_of
from tests.faults.ledger import judge, rows
from tests.faults.report import Report
from tests.faults.scene import Scene, scene
from tests.upstream import Received, Reply

STREAMS = 100
SHORT_STREAMS = 20


async def sigterm(report: Report, folder: Path, *, short: bool) -> None:
    streams = SHORT_STREAMS if short else STREAMS
    await _once(report, folder / "once", streams)
    await _twice(report, folder / "twice", streams)


class _Held:
    """Answers that stop after their first event until `gate` opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    def __call__(self, request: Received) -> Reply:
        events = events_of(request)
        return Reply(200, streaming(events).headers, [events[0], self.gate, *events[1:]])


async def _begin(one: Scene, streams: int, stack: AsyncExitStack) -> list[httpx.Response]:
    """So many answers, their headers read and the first event on its way."""
    return list(
        await asyncio.gather(
            *(
                stack.enter_async_context(one.stream(APIS[number % len(APIS)], number))
                for number in range(streams)
            )
        )
    )


async def _once(report: Report, folder: Path, streams: int) -> None:
    held = _Held()
    delivered: set[int] = set()

    async def read(number: int, answer: httpx.Response) -> None:
        try:
            body = await answer.aread()
        except httpx.HTTPError:
            return
        if body.endswith(b"\n\n"):
            delivered.add(number)

    async with scene(folder, held, shutdown_grace="20s") as one, AsyncExitStack() as stack:
        await one.start()
        answers = await _begin(one, streams, stack)
        assert one.process is not None
        one.process.signal(signal.SIGTERM)
        await one.process.logged("SIGTERM: no new requests")
        held.gate.set()
        await asyncio.gather(*(read(number, answer) for number, answer in enumerate(answers)))
        status = await one.process.ended()
        report.did(f"SIGTERM with {streams} live streams: exit status {status}")
        report.require(status == 0, f"exit status {status}: {one.log[-500:]}")
        report.require(len(delivered) == streams, f"only {len(delivered)} of {streams} streams ended whole")
        judge(report, one.database, delivered)


async def _twice(report: Report, folder: Path, streams: int) -> None:
    held = _Held()
    async with scene(folder, held, shutdown_grace="20s") as one:
        async with AsyncExitStack() as stack:
            await one.start()
            await _begin(one, streams, stack)
            assert one.process is not None
            one.process.signal(signal.SIGTERM)
            await one.process.logged("SIGTERM: no new requests")
            loop = asyncio.get_running_loop()
            began = loop.time()
            one.process.signal(signal.SIGTERM)
            status = await one.process.ended()
            took_s = loop.time() - began
        await one.start()
        again = await one.stop()
        ((starts,),) = rows(
            one.database, "SELECT count(*) FROM aibridge_interceptions WHERE started_at IS NOT NULL"
        )
        report.did(
            f"a second SIGTERM: exit status {status} after {took_s:.2f} s; started again, ended with {again}"
        )
        report.counted(streams_cut=streams, starts_found=starts)
        report.require(status == 128 + signal.SIGTERM, f"exit status {status}")
        report.require(took_s < 1.0, f"it took {took_s:.2f} s to end")
        report.require((again, starts) == (0, streams), f"{starts} of {streams} starts were in the journal")
