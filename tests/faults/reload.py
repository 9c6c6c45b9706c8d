"""A reload every second under live streams: none is cut, new requests have the new providers, no connection is left.

Each reload brings an instance that was not there before and takes the one before it away. The instances of the streams
get new keys, go away, are disabled and come back; every fourth configuration is bad, and must change nothing.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from tests.answers.turn import STREAM_HEADERS
from tests.faults.apis import APIS, events_of, number_of, turn_of
from tests.faults.ledger import judge
from tests.faults.report import Report
from tests.faults.scene import Scene, scene
from tests.faults.soon import soon
from tests.upstream import Received, Reply, Step

STREAMS, RELOADS = 200, 60
SHORT_STREAMS, SHORT_RELOADS = 50, 6
EVERY_S = 1.0
SPARE_CONNECTIONS = 16
"""Those of the questions in between, and those that close just then."""
IDLE_S = 30.0
"""Longer than the gateway, or the provider, keeps a connection that has nothing to do."""
OPEN_STATES = ("01", "08")
"""Established, and closed by the other side alone, in the words of `/proc/net/tcp`."""
TICK = b": tick\n\n"
FIRST_QUESTION = 1_000_000
"""The streams have the numbers below."""


async def reload(report: Report, folder: Path, *, short: bool) -> None:
    streams, reloads = (SHORT_STREAMS, SHORT_RELOADS) if short else (STREAMS, RELOADS)
    await reload_under_streams(report, folder / "scene", streams, reloads, every_s=EVERY_S)


class _Ticking:
    """Answers that say a little at each tick, and end after the last one. Questions are answered at once."""

    def __init__(self, ticks: int) -> None:
        self.ticks = [asyncio.Event() for _ in range(ticks)]

    def __call__(self, request: Received) -> Reply:
        events = events_of(request)
        streamed = number_of(request) < FIRST_QUESTION
        return Reply(200, STREAM_HEADERS, self.steps(events) if streamed else events)

    def steps(self, events: list[bytes]) -> list[Step]:
        return [events[0], *(step for tick in self.ticks for step in (tick, TICK)), *events[1:]]


class _Configuration:
    """The settings file of a scene, one generation of providers after the other."""

    def __init__(self, one: Scene) -> None:
        self._path = one.folder / "settings.yaml"
        self._document = json.loads(self._path.read_text("utf-8"))
        self._streams: list[dict[str, Any]] = self._document["ai_gateway"]["providers"]

    def write(self, generation: int) -> bool:
        """Whether it is a good one."""
        kind = generation % 4
        changed: list[dict[str, Any]] = [
            {**given, "key": _key(generation), "enabled": kind != 1}
            for given in self._streams
            if kind != 2  # then they are not there at all
        ]
        new = {**self._streams[0], "name": f"generation-{generation}", "key": _key(generation)}
        if kind == 3:
            new["type"] = "nonsense"
        self._document["ai_gateway"]["providers"] = [*changed, new]
        self._path.write_text(json.dumps(self._document), "utf-8")
        return kind != 3


def _key(generation: int) -> str:
    return f"sk-fake-central-{generation}"


async def reload_under_streams(
    report: Report, folder: Path, streams: int, reloads: int, *, every_s: float
) -> None:
    ticking = _Ticking(reloads)
    loop = asyncio.get_running_loop()
    async with scene(folder, ticking) as one:
        await one.start()
        most, slowest_s, good = 0, 0.0, 0
        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(_read(one, number)) for number in range(streams)]
            await one.upstream.request(streams - 1)
            configuration = _Configuration(one)
            for generation in range(reloads):
                began = loop.time()
                if await _reload(report, one, configuration, generation):
                    good += 1
                slowest_s = max(slowest_s, loop.time() - began)
                most = max(most, _connections(one))
                ticking.ticks[generation].set()
                await asyncio.sleep(max(0.0, began + every_s - loop.time()))
        delivered = {
            number for number, task in enumerate(reading) if task.result() == _whole(ticking, number)
        }
        none_left = await soon(lambda: _none_left(one), within_s=IDLE_S)
        left = _connections(one)
        status = await one.stop()
        report.did(f"{good} reloads and {reloads - good} bad configurations under {streams} live streams")
        report.counted(streams_whole=len(delivered), slowest_reload_and_question_ms=round(slowest_s * 1000))
        report.counted(most_connections_to_the_provider=most, left_when_idle=left)
        judge(report, one.database, delivered)
        report.require(len(delivered) == streams, f"{streams - len(delivered)} streams were cut or changed")
        report.require(none_left, f"{left} connections were left open")
        report.require(most <= streams + SPARE_CONNECTIONS, f"{most} connections for {streams} streams")
        report.require(status == 0, f"exit status {status}: {one.log[-500:]}")
        report.require("sk-fake" not in one.log.replace("sk-f...", ""), "a key is in the log")


async def _reload(report: Report, one: Scene, configuration: _Configuration, generation: int) -> bool:
    """One SIGHUP, and a question to see what it changed; whether the configuration was a good one."""
    good = configuration.write(generation)
    assert one.process is not None
    refused = "new configuration refused"
    refusals = sum(refused in line for line in one.process.log)
    one.process.signal(signal.SIGHUP)
    if good:
        await one.process.logged(rf"providers reloaded, now: .*\bgeneration-{generation}\b")
    else:
        await one.process.logged_times(refused, refusals + 1)
    serves = generation if good else generation - 1
    statuses = [await _ask(one, serves, generation), await _ask(one, serves - 1, generation)]
    report.require(statuses == [200, 404], f"after reload {generation} its instances answered {statuses}")
    keys = one.upstream.requests[-1].values("x-api-key")
    report.require(keys == [_key(serves).encode()], f"reload {generation}: another key went upstream")
    return good


async def _ask(one: Scene, instance: int, generation: int) -> int:
    api = replace(APIS[0], path=f"/generation-{instance}/v1/messages")
    return await one.ask(api, FIRST_QUESTION + generation)


async def _read(one: Scene, number: int) -> bytes:
    """What came of a stream, whole or not."""
    got = b""
    try:
        async with one.stream(APIS[number % len(APIS)], number) as answer:
            async for chunk in answer.aiter_raw():
                got += chunk
    except httpx.HTTPError:
        pass
    return got


def _whole(ticking: _Ticking, number: int) -> bytes:
    steps: Sequence[Step] = ticking.steps(APIS[number % len(APIS)].events(turn_of(number)))
    return b"".join(step for step in steps if isinstance(step, bytes))


def _connections(one: Scene) -> int:
    """How many the gateway has open to the provider: nobody else connects to that port."""
    port = f":{one.upstream_port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(remote.endswith(port) and state in OPEN_STATES for _, _, remote, state, *_ in lines)


async def _none_left(one: Scene) -> bool:
    return _connections(one) == 0
