"""The store is away for a while, in each of the ways that it can be: nobody who is known notices, nothing is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.answers.turn import streaming
from tests.faults.apis import events_of
from tests.faults.callers import Caller, Callers, callers_in
from tests.faults.ledger import Kept, judge, rows
from tests.faults.load import Asked, Load
from tests.faults.report import Report
from tests.faults.scene import Scene, scene
from tests.faults.server import Server, controlled
from tests.faults.soon import soon
from tests.faults.troubles import Trouble, hanging, locked, refusing, slow, stopped
from tests.postgres import new_database, running_server
from tests.recorders.stores.line import line_to
from tests.upstream import Received, Reply

CLIENTS = 4
MINUTE_S = 60.0
SHORT_S = 6.0
EVERY_S = 1.0
KEYS_WITHIN_S = 20.0
"""After the trouble, a key that was never seen is good so soon."""
STORED_WITHIN_S = 60.0
"""And what waited is stored so soon: the drain may be resting for 30 s."""
DEADLINE_S = 5.0 + 1.0
"""What a look-up may take, and something for a busy machine."""
SETTINGS = {"auth": "database", "auth_cache_ttl": "1s"}
"""Identities are remembered so shortly that the store is missed at once; all else is as by default."""


async def store(report: Report, folder: Path, *, short: bool) -> None:
    seconds = SHORT_S if short else MINUTE_S
    with (
        running_server("-c fsync=off") as server_url,
        controlled(server_url) as server,
        new_database(server_url) as url,
    ):
        await _on_postgresql(report, folder / "postgresql", server, url, seconds)
    await _on_sqlite(report, folder / "sqlite", seconds)


async def _on_postgresql(report: Report, folder: Path, server: Server, url: str, seconds: float) -> None:
    async with line_to(url) as line:
        troubles = [
            Trouble("PostgreSQL stopped", seconds, partial(stopped, server)),
            Trouble("PostgreSQL refusing connections", seconds / 2, partial(refusing, line)),
            Trouble("PostgreSQL swallowing what it is sent", seconds, partial(hanging, line)),
            Trouble("PostgreSQL making each query wait", seconds, partial(slow, url)),
        ]
        if not server.ours:
            report.did("left out: stopping the server, which is not this run's own")
            del troubles[0]
        async with _play(report, folder, url, line.url) as play:
            for trouble in troubles:
                await play.through(trouble)


async def _on_sqlite(report: Report, folder: Path, seconds: float) -> None:
    path = folder / "gateway.db"
    trouble = Trouble("SQLite locked by another process", seconds, partial(locked, path), keys_are_known=True)
    async with _play(report, folder, path, f"sqlite:///{path}") as play:
        await play.through(trouble)


@asynccontextmanager
async def _play(report: Report, folder: Path, kept: Kept, gateways_url: str) -> AsyncIterator[_Play]:
    """A gateway under load; the block is what happens to it. Then it ends in order, and the count."""
    own_url = kept if isinstance(kept, str) else gateways_url
    async with (
        scene(folder, _answer, database_url=gateways_url, **SETTINGS) as one,
        callers_in(own_url) as callers,
    ):
        known = [await callers.new() for _ in range(CLIENTS)]
        revoked = await callers.new()
        await callers.revoke(revoked)
        await one.start()
        load = Load(one)
        async with load.going(known):
            refused = await load.ask(revoked)
            report.require(refused.status == 403, f"a revoked key got {refused.status}")
            yield _Play(report, kept, load, callers, revoked)
        status = await one.stop()
        _judge_known(report, one, load, status)
        judge(report, kept, load.delivered)


def _answer(request: Received) -> Reply:
    return streaming(events_of(request))


def _judge_known(report: Report, one: Scene, load: Load, status: int) -> None:
    answers = ", ".join(f"{count} x {status}" for status, count in sorted(load.statuses.items()))
    report.did(f"known keys, all the time: {answers}; the gateway, never restarted, ended with {status}")
    report.require(set(load.statuses) == {200}, "requests of known keys failed")
    report.require(status == 0, f"exit status {status}: {one.log[-500:]}")


@dataclass(frozen=True, slots=True)
class _Play:
    """The gateway under load, while troubles come and go. `revoked` was so before it started."""

    report: Report
    kept: Kept
    load: Load
    callers: Callers
    revoked: Caller

    async def through(self, trouble: Trouble) -> None:
        """One trouble from its beginning to the moment when all is well again."""
        unseen, leaving = await self.callers.new(), await self.callers.new()
        met = await self.load.ask(leaving)
        self.report.require(met.status == 200, f"a good key got {met.status}")
        await self.callers.revoke(leaving)
        self.load.slowest_s, before = 0.0, len(self.load.delivered)
        clock = asyncio.get_running_loop().time
        async with trouble.wrong():
            began_at = clock()
            asked = await self._meanwhile([unseen, leaving, self.revoked], trouble.seconds)
            lasted_s, delivered = clock() - began_at, len(self.load.delivered) - before
        self.report.did(
            f"{trouble.name} for {lasted_s:.0f} s: {delivered} answers delivered meanwhile, "
            f"those for known keys within {self.load.slowest_s:.1f} s"
        )
        self._judge_meanwhile(trouble, *asked)
        await self._judge_afterwards(trouble, unseen, leaving)

    async def _meanwhile(self, callers: Sequence[Caller], seconds: float) -> list[list[Asked]]:
        """What these get who ask now and then for so long; what is under way then is waited for."""
        answers: list[list[Asked]] = [[] for _ in callers]
        clock = asyncio.get_running_loop().time
        until = clock() + seconds

        async def ask_on(caller: Caller, got: list[Asked]) -> None:
            while clock() < until:
                got.append(await self.load.ask(caller))
                await asyncio.sleep(min(EVERY_S, max(0.0, until - clock())))

        async with asyncio.TaskGroup() as group:
            for caller, got in zip(callers, answers, strict=True):
                group.create_task(ask_on(caller, got))
        return answers

    def _judge_meanwhile(
        self, trouble: Trouble, unseen: list[Asked], leaving: list[Asked], revoked: list[Asked]
    ) -> None:
        good = 200 if trouble.keys_are_known else 503
        self._judge(trouble, "a key never seen", unseen, {good})
        self._judge(trouble, "a key just revoked", leaving, {200, 403, 503})
        self._judge(trouble, "a key revoked long before", revoked, {403, 503})

    def _judge(self, trouble: Trouble, whose: str, got: list[Asked], allowed: set[int]) -> None:
        statuses = Counter(asked.status for asked in got)
        slowest_s = max((asked.took_s for asked in got), default=0.0)
        answers = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
        self.report.did(f"  {whose}: {answers}, within {slowest_s:.1f} s")
        self.report.require(bool(got), f"{trouble.name}: {whose} got no answer")
        self.report.require(set(statuses) <= allowed, f"{trouble.name}: {whose} got {answers}")
        self.report.require(slowest_s <= DEADLINE_S, f"{trouble.name}: {whose} waited {slowest_s:.1f} s")
        bare = [asked for asked in got if asked.status == 503 and not asked.retry_after]
        self.report.require(not bare, f"{trouble.name}: {len(bare)} x 503 without Retry-After")

    async def _judge_afterwards(self, trouble: Trouble, unseen: Caller, leaving: Caller) -> None:
        clock = asyncio.get_running_loop().time
        over_at = clock()
        unseen_got = await self._until(200, unseen)
        good_s = clock() - over_at
        stored = await self._all_stored()
        stored_s = clock() - over_at
        leaving_got = await self._until(403, leaving)
        revoked = await self.load.ask(self.revoked)
        self.report.did(
            f"  afterwards: the new key good after {good_s:.1f} s, all stored after {stored_s:.1f} s, "
            f"the revoked ones {leaving_got[-1]} and {revoked.status}"
        )
        self.report.require(unseen_got[-1] == 200, f"{trouble.name}: afterwards a good key got {unseen_got}")
        self.report.require(
            set(unseen_got) <= {200, 503}, f"{trouble.name}: afterwards a good key got {unseen_got}"
        )
        self.report.require(stored, f"{trouble.name}: not all is stored {STORED_WITHIN_S:.0f} s afterwards")
        self.report.require(
            (leaving_got[-1], revoked.status) == (403, 403), f"{trouble.name}: a revoked key is good again"
        )

    async def _until(self, status: int, caller: Caller) -> list[int]:
        """The statuses that the caller gets until it is this one, or until that takes too long."""
        got = [(await self.load.ask(caller)).status]

        async def is_it() -> bool:
            if got[-1] != status:
                got.append((await self.load.ask(caller)).status)
            return got[-1] == status

        await soon(is_it, within_s=KEYS_WITHIN_S)
        return got

    async def _all_stored(self) -> bool:
        """Whether what was delivered until now is in the store soon, while the load goes on."""
        wanted = len(self.load.delivered)
        sql = "SELECT count(*) FROM aibridge_interceptions WHERE outcome = 'completed'"

        async def is_it() -> bool:
            ((count,),) = await asyncio.to_thread(rows, self.kept, sql)
            return int(count) >= wanted

        return await soon(is_it, within_s=STORED_WITHIN_S)
