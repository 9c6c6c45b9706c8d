"""Other programs beside a loaded gateway on SQLite, then `kill -9`: no record, no key and no suspension is lost.

Commands and backups of this scenario are processes of their own, beside those of `tests.faults.visitors` that come and
go all the time in every scenario. At last somebody really takes the write-ahead log away, again and again.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from providers.secret import Secret
from tests.answers.turn import streaming
from tests.faults.apis import events_of
from tests.faults.callers import Caller, callers_in
from tests.faults.ledger import judge
from tests.faults.load import Load
from tests.faults.report import Report
from tests.faults.scene import Scene, scene
from tests.faults.soon import soon
from tests.gateway.command import clean_environment, command
from tests.upstream import Received, Reply

CLIENTS: Final = 6
ROUNDS, SHORT_ROUNDS = 8, 2
REMOVALS, SHORT_REMOVALS = 20, 4
LATEST_S: Final = 1.0
"""The gateway dies within so many seconds after the last command."""
KNOWN_WITHIN_S: Final = 10.0
"""A revoked key or a suspended user is refused so soon: the cache's second, and something for a busy machine."""
SETTINGS: Final = {"auth": "database", "auth_cache_ttl": "1s"}
LOST: Final = "was removed or replaced"

_REMOVE: Final = """
import os, sqlite3, sys, time

connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
    time.sleep(0.01)
for suffix in ("-wal", "-shm"):
    os.unlink(sys.argv[1] + suffix)
os._exit(0)
"""
"""As the last program to close a database does it: what is in the log goes into the file, and the log goes away."""


async def other_programs(report: Report, folder: Path, *, short: bool) -> None:
    for workers in (1, 2):
        await _beside(report, folder / f"{workers}", workers, SHORT_ROUNDS if short else ROUNDS)
    await _without_log(report, folder / "removed", SHORT_REMOVALS if short else REMOVALS)


def _answer(request: Received) -> Reply:
    return streaming(events_of(request))


# -- programs that mean no harm -------------------------------------------------------------------------------------


async def _beside(report: Report, folder: Path, workers: int, rounds: int) -> None:
    rng = random.Random(workers)
    async with scene(folder, _answer, **SETTINGS) as one:
        one.workers = workers
        async with callers_in(f"sqlite:///{one.database}") as made:
            known = [await made.new() for _ in range(CLIENTS)]
        load = Load(one)
        suspended: list[Caller] = []
        for number in range(rounds):
            await one.start()
            for caller in suspended:
                await _require_refused(report, load, caller, "a user suspended before the restart")
            async with load.going(known):
                suspended.append(await _govern(report, one, load, f"round{number}"))
                await _back_up(report, one, folder / f"backup{number}.db")
                if workers > 1:
                    await _kill_a_worker(one)
                await asyncio.sleep(rng.uniform(0, LATEST_S))
                await one.kill()
            report.require(LOST not in one.log, "the write-ahead log was taken away")
        await one.start()
        await _require_refused(report, load, suspended[-1], "the user who was suspended last")
        status = await one.stop()
        visits = await one.no_more_visits()
        report.did(
            f"killed a gateway of {workers} workers {rounds} times under {CLIENTS} clients; beside it "
            + ", ".join(f"{count} x {name}" for name, count in sorted(visits.made.items()))
        )
        report.require(status == 0, f"exit status {status}: {one.log[-500:]}")
        report.require(not visits.failed, f"other programs failed: {visits.failed[:3]}")
        report.require(len(load.delivered) > rounds * CLIENTS, "there was hardly any load")
        judge(report, one.database, load.delivered)


async def _govern(report: Report, one: Scene, load: Load, name: str) -> Caller:
    """By the command: a user and keys are made, one key is revoked, the user suspended, and the gateway knows."""
    await _run(one, "users", "create", name)
    first, second = await _new_key(one, name), await _new_key(one, name)
    for caller in (first, second):
        status = (await load.ask(caller)).status
        report.require(status == 200, f"a new key got {status}")
    await _run(one, "keys", "revoke", first.key_id)
    await _require_refused(report, load, first, "a revoked key")
    await _run(one, "users", "suspend", name)
    await _require_refused(report, load, second, "a suspended user")
    return second


async def _new_key(one: Scene, user: str) -> Caller:
    (token,) = await _run(one, "keys", "create", "--user", user)
    return Caller(user, token.partition("-")[0], Secret(token))


async def _require_refused(report: Report, load: Load, caller: Caller, who: str) -> None:
    async def is_refused() -> bool:
        return (await load.ask(caller)).status == 403

    report.require(await soon(is_refused, within_s=KNOWN_WITHIN_S), f"{who} was not refused")


async def _run(one: Scene, *arguments: str) -> Sequence[str]:
    """What the command printed."""
    environment = {"CODER_AI_GATEWAY_DATABASE_URL": f"sqlite:///{one.database}"}
    async with command(*arguments, folder=one.folder, environment=environment) as process:
        status = await process.ended()
        assert status == 0, process.log
        return process.out


async def _back_up(report: Report, one: Scene, to: Path) -> None:
    """As the operator's guide says, by the command `sqlite3` where there is one."""
    if shutil.which("sqlite3"):
        arguments = ["sqlite3", str(one.database), f".backup {to}"]
    else:
        program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))"
        arguments = [sys.executable, "-c", program, str(one.database), str(to)]
    await _end_well(*arguments)
    copy = sqlite3.connect(to)
    (verdict,) = copy.execute("PRAGMA integrity_check").fetchone()
    copy.close()
    report.require(verdict == "ok", f"the backup is damaged: {verdict}")


async def _end_well(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(*arguments, env=clean_environment())
    async with asyncio.timeout(60):
        assert await process.wait() == 0, arguments


async def _kill_a_worker(one: Scene) -> None:
    """And wait until another has taken its place."""
    assert one.process is not None
    one.kill_worker()
    await one.process.logged("starting another")


# -- somebody who does ----------------------------------------------------------------------------------------------


async def _without_log(report: Report, folder: Path, removals: int) -> None:
    """After each second time the gateway is killed, so that it can't mend anything any more."""
    rng = random.Random(3)
    async with scene(folder, _answer, **SETTINGS) as one:
        async with callers_in(f"sqlite:///{one.database}") as made:
            known = [await made.new() for _ in range(CLIENTS)]
        load = Load(one)
        for _ in range(removals // 2):
            await one.start()
            async with load.going(known):
                await _remove_log(one)
                assert one.process is not None
                await one.process.logged(f"its write-ahead log {LOST}")
                await one.process.logged("works again")
                report.require(await soon(one.is_ready, within_s=KNOWN_WITHIN_S), "it did not become ready")
                await asyncio.sleep(rng.uniform(0, LATEST_S))
                await _remove_log(one)
                await asyncio.sleep(rng.uniform(0, LATEST_S) ** 4)
                await one.kill()
        await one.start()
        status = await one.stop()
        report.did(f"took the write-ahead log away {removals // 2 * 2} times under {CLIENTS} clients")
        report.require(status == 0, f"exit status {status}: {one.log[-500:]}")
        await one.no_more_visits()
        judge(report, one.database, load.delivered)


async def _remove_log(one: Scene) -> None:
    await _end_well(sys.executable, "-c", _REMOVE, str(one.database))
