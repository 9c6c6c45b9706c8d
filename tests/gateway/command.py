"""The `ai-gateway` command as a process of its own, with nothing of this machine's environment in its settings.

    async with command("serve", "--port", "0", folder=tmp_path) as process:
        port = (await process.logged(r"listening on http://127.0.0.1:(\\d+)"))[1]
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0

It runs in `folder`, so that what it makes by default is made there. A process that a test leaves running is killed.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.waiting import Changes

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 30.0
"""A new interpreter on a busy machine takes its time."""


class Process:
    """What it wrote so far, line by line, and what became of it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.out: list[str] = []
        self.log: list[str] = []
        self._changes = Changes()
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = asyncio.gather(
            self._read(process.stdout, self.out), self._read(process.stderr, self.log)
        )
        self._readers.add_done_callback(lambda _: self._changes.notify())

    @property
    def pid(self) -> int:
        return self._process.pid

    async def logged(self, pattern: str) -> re.Match[str]:
        """The first line on standard error that matches, as soon as it is written."""
        return await self._line(self.log, pattern)

    async def logged_times(self, pattern: str, times: int) -> None:
        """Return when that many lines on standard error match."""
        await self._changes.until(
            lambda: sum(bool(re.search(pattern, line)) for line in self.log) >= times,
            f"{times} lines of {pattern!r}",
            patience_s=PATIENCE_S,
        )

    async def printed(self, pattern: str) -> re.Match[str]:
        """The first line on standard output that matches, as soon as it is written."""
        return await self._line(self.out, pattern)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        """The exit status, once all that it wrote is read."""
        async with asyncio.timeout(PATIENCE_S):
            await self._readers
            return await self._process.wait()

    async def _read(self, stream: asyncio.StreamReader, lines: list[str]) -> None:
        async for line in stream:
            lines.append(line.decode().rstrip("\n"))
            self._changes.notify()
        self._changes.notify()

    async def _line(self, lines: list[str], pattern: str) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            return next((match for line in lines if (match := re.search(pattern, line))), None)

        await self._changes.until(
            lambda: found() is not None or self._readers.done(), repr(pattern), patience_s=PATIENCE_S
        )
        match = found()
        assert match is not None, f"the process ended without {pattern!r}: {self.log[-20:]}"
        return match

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._readers
        await self._process.wait()


@asynccontextmanager
async def command(
    *arguments: str, folder: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """Run `ai-gateway` with these arguments for as long as the block lasts, or shorter."""
    process = Process(
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", *arguments),
            cwd=folder,
            env=clean_environment() | dict(environment or {}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    )
    try:
        yield process
    finally:
        await process.kill()


def clean_environment() -> dict[str, str]:
    """This process's environment without settings, vendor keys and proxies, and with the checkout on the path."""
    foreign = re.compile(r"(CODER|AI_GATEWAY|OPENAI|ANTHROPIC|AWS)_|.*_proxy$", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not foreign.match(name)}
    return kept | {"PYTHONPATH": str(ROOT)}
