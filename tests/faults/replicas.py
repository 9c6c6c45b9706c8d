"""Two gateways on one PostgreSQL, agents whose turns alternate between them, and `kill -9`: threads stay whole."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle, pairwise
from pathlib import Path

import httpx

from tests.answers.turn import streaming
from tests.faults.apis import APIS, Api, answering, events_of, turn_of
from tests.faults.callers import Caller, callers_in
from tests.faults.ledger import judge, rows
from tests.faults.report import Report
from tests.faults.scene import Scene, scene
from tests.postgres import new_database, running_server
from tests.upstream import Received, Reply

AGENTS = 6
KILLS = 10
SHORT_KILLS = 2
TURNS = 8
"""Of a thread, then the agent begins another."""
PAUSE_S = 0.05
LATEST_S = 1.0
"""A replica dies, and is started again, within so many seconds after the last of such events."""


async def replicas(report: Report, folder: Path, *, short: bool) -> None:
    kills = SHORT_KILLS if short else KILLS
    with running_server("-c fsync=off") as server_url, new_database(server_url) as url:
        async with _both(folder, url) as both:
            async with callers_in(url) as callers:
                agents = [_Agent(await callers.new(), APIS[n % len(APIS)], both) for n in range(AGENTS)]
            for one in both:
                await one.start()
            await _work(agents, both, kills)
            statuses = [await one.stop() for one in both]
        broken, refused = (
            sum(agent.broken for agent in agents),
            [r for agent in agents for r in agent.refused],
        )
        report.did(
            f"{AGENTS} agents, each turn at the other of two replicas, which were killed {kills} times; "
            f"{broken} attempts broke off and were made again; the replicas ended with {statuses[0]} and {statuses[1]}"
        )
        report.require(not refused, f"{len(refused)} turns were refused: {refused[:3]}")
        report.require(statuses == [0, 0], f"exit statuses {statuses}")
        judge_threads(report, url, [thread for agent in agents for thread in agent.threads])
        delivered = {turn.number for agent in agents for thread in agent.threads for turn in thread}
        judge(report, url, delivered, without=("prompt",))  # a tool's result is none


@contextlib.asynccontextmanager
async def _both(folder: Path, url: str) -> AsyncIterator[list[Scene]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(scene(folder / name, _answer, auth="database", database_url=url))
            for name in ("a", "b")
        ]


def _answer(request: Received) -> Reply:
    return streaming(events_of(request))


async def _work(agents: Sequence[_Agent], both: Sequence[Scene], kills: int) -> None:
    """Agents at work, while now one replica and now the other dies and comes back."""
    rng = random.Random(2)
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for agent in agents:
            group.create_task(agent.work(enough))
        for _, one in zip(range(kills), cycle(both), strict=False):
            await asyncio.sleep(LATEST_S + rng.uniform(0, LATEST_S))
            await one.kill()
            await asyncio.sleep(rng.uniform(0, LATEST_S))
            await one.start()
        await asyncio.sleep(LATEST_S)
        enough.set()


@dataclass(frozen=True, slots=True)
class Turn:
    """An answer that came whole."""

    number: int
    replica: int


_NUMBERS = count()


@dataclass(slots=True)
class _Agent:
    """Speaks one API with one key; a turn that fails is tried again at the other replica, as clients do."""

    caller: Caller
    api: Api
    both: Sequence[Scene]
    threads: list[list[Turn]] = field(default_factory=list)
    broken: int = 0
    refused: list[str] = field(default_factory=list)
    """What a replica said instead of an answer; one that is dead says nothing."""
    _replica: int = 0

    async def work(self, enough: asyncio.Event) -> None:
        while not enough.is_set():
            thread: list[Turn] = []
            self.threads.append(thread)
            while len(thread) < TURNS and not enough.is_set():
                thread.append(await self._turn(thread))
                await asyncio.sleep(PAUSE_S)

    async def _turn(self, thread: Sequence[Turn]) -> Turn:
        while True:
            number = next(_NUMBERS)
            body = answering(self.api, number, thread[-1].number) if thread else self.api.body(number)
            self._replica = 1 - self._replica
            with contextlib.suppress(httpx.HTTPError):
                client = self.both[self._replica].client
                answer = await client.post(self.api.path, content=body, headers=self.caller.headers)
                if answer.status_code == 200:
                    return Turn(number, self._replica)
                self.refused.append(f"{answer.status_code}: {answer.text[:200]}")
            self.broken += 1
            await asyncio.sleep(PAUSE_S)


@dataclass(frozen=True, slots=True)
class _Kept:
    id: str
    parent: str | None
    root: str | None
    session: str


def judge_threads(report: Report, url: str, threads: Sequence[Sequence[Turn]]) -> None:
    """Each turn hangs on the one before it, wherever that was, and all of a thread on its first."""
    kept = {
        call_id: _Kept(*columns)
        for call_id, *columns in rows(
            url,
            "SELECT t.provider_tool_call_id, i.id::text, i.thread_parent_id::text, i.thread_root_id::text,"
            " i.session_id::text FROM aibridge_tool_usages t"
            " JOIN aibridge_interceptions i ON i.id = t.interception_id",
        )
    }
    wrong: list[str] = []
    across = 0
    for thread in threads:
        across += sum(one.replica != other.replica for one, other in pairwise(thread))
        found = [kept.get(_call_of(turn)) for turn in thread]
        wrong += [
            f"{_call_of(turn)}: {one}, after {before}"
            for turn, one, before in zip(thread, found, [None, *found], strict=False)
            if one is None or one != _expected(one, before, found[0])
        ]
    report.counted(
        threads=len(threads), turns=sum(map(len, threads)), links_across_replicas=across, wrong=len(wrong)
    )
    report.require(across > 0, "no thread went across replicas")
    report.require(not wrong, f"wrong: {wrong[:3]}")


def _expected(one: _Kept, before: _Kept | None, first: _Kept | None) -> _Kept:
    if before is None or first is None:
        return _Kept(one.id, None, None, one.id)
    return _Kept(one.id, before.id, first.id, first.id)


def _call_of(turn: Turn) -> str:
    tool = turn_of(turn.number).tool
    assert tool is not None
    return tool.call_id
