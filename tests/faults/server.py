"""The PostgreSQL server of `tests.postgres`, stopped as by a crash and started again on the same folder."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.faults.soon import soon
from tests.postgres import GIVEN_URL

PATIENCE_S = 60.0


class Server:
    """The one behind `url`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._folder = Path(str(conninfo_to_dict(url).get("host") or "/nowhere"))
        self._pid_file = self._folder / "data" / "postmaster.pid"
        self._started: subprocess.Popen[bytes] | None = None

    @property
    def ours(self) -> bool:
        """It may be stopped: it isn't somebody else's."""
        return GIVEN_URL not in os.environ

    async def stop(self) -> None:
        """At once, without a word to its clients and without writing anything more."""
        os.kill(int(self._pid_file.read_text().split()[0]), signal.SIGQUIT)
        if not await soon(self._has_stopped, within_s=PATIENCE_S):
            raise AssertionError("PostgreSQL did not stop")
        self.end()

    async def start(self) -> None:
        """With the arguments that it had; it answers when this returns."""
        self._started = self._start()
        if not await soon(self._answers, within_s=PATIENCE_S):
            raise AssertionError(f"PostgreSQL did not start: {(self._folder / 'log').read_text()[-500:]}")

    def end(self) -> None:
        """Stop and reap the process that `start` made, if there is one."""
        if self._started is not None:
            self._started.send_signal(signal.SIGQUIT)
            self._started.wait(PATIENCE_S)
            self._started = None

    def _start(self) -> subprocess.Popen[bytes]:
        owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            whose = self._folder.stat()
            owner = {"user": whose.st_uid, "group": whose.st_gid, "extra_groups": []}
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                shlex.split((self._folder / "data" / "postmaster.opts").read_text()),
                cwd=self._folder,
                env={"HOME": str(self._folder), "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **owner,
            )

    async def _has_stopped(self) -> bool:
        return not self._pid_file.exists()

    async def _answers(self) -> bool:
        try:
            connection = await psycopg.AsyncConnection.connect(self._url)
        except psycopg.OperationalError:
            return False
        await connection.close()
        return True


@contextmanager
def controlled(url: str) -> Iterator[Server]:
    """Nothing that it started is left running."""
    server = Server(url)
    try:
        yield server
    finally:
        server.end()
