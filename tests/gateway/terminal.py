"""The `ai-gateway` command on a real pseudo-terminal, with a person at it who reads and types.

    async with terminal("chat", folder=tmp_path, environment=...) as person:
        await person.sees("you> ")
        person.types("Hello\\r")

What the person types is echoed, and Ctrl-C is `\\x03`: the terminal makes a signal of it. A process that a test leaves
running is killed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.gateway.command import PATIENCE_S, clean_environment
from tests.waiting import Changes

CTRL_C, CTRL_D = "\x03", "\x04"


class Person:
    """`text` is everything that the terminal was sent so far."""

    def __init__(self, process: asyncio.subprocess.Process, controller: int) -> None:
        self.text = ""
        self._process = process
        self._controller = controller
        self._read_until = 0
        self._closed = False
        self._changes = Changes()
        asyncio.get_running_loop().add_reader(controller, self._read)

    async def sees(self, pattern: str) -> re.Match[str]:
        """The first match behind what was seen before, as soon as it is there."""
        wanted = re.compile(pattern)

        def found() -> re.Match[str] | None:
            return wanted.search(self.text, self._read_until)

        await self._changes.until(
            lambda: found() is not None or self._closed, repr(pattern), patience_s=PATIENCE_S
        )
        match = found()
        assert match is not None, f"the command ended without {pattern!r}: {self.text[-2000:]!r}"
        self._read_until = match.end()
        return match

    def types(self, keys: str) -> None:
        os.write(self._controller, keys.encode())

    def leaves(self) -> None:
        """Ctrl-C at the prompt; readline may see it with the next key only, if it comes as the prompt is shown."""
        self.types(CTRL_C + "\r")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        """The exit status."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._process.wait()

    async def leave(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        asyncio.get_running_loop().remove_reader(self._controller)
        os.close(self._controller)

    def _read(self) -> None:
        try:
            piece = os.read(self._controller, 65536)
        except OSError:  # the other side has been closed
            piece = b""
        if not piece:
            self._closed = True
            asyncio.get_running_loop().remove_reader(self._controller)
        self.text += piece.decode(errors="replace")
        self._changes.notify()


@asynccontextmanager
async def terminal(
    *arguments: str, folder: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Person]:
    """Run `ai-gateway` with these arguments on a terminal of its own."""
    controller, line = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *arguments),
        cwd=folder,
        env=clean_environment() | {"TERM": "xterm"} | dict(environment or {}),
        stdin=line,
        stdout=line,
        stderr=line,
        start_new_session=True,
        preexec_fn=_own_the_terminal,
    )
    os.close(line)
    person = Person(process, controller)
    try:
        yield person
    finally:
        await person.leave()


def _own_the_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
