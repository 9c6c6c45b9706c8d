"""What a command-line client is to these runs, and how one is run without anybody at the keyboard."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.answers.turn import ToolUse

FILE_NAME = "greeting.txt"
FILE_TEXT = "hello from the scripted model"
PROMPT = "Write a greeting into a file, then tell me that it is done."
GOVERNANCE_HEADER = "X-Coder-AI-Governance-Token"
RUN_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Access:
    """What a user has in hand. With `own_key` (BYOK) the gateway token travels in a header of its own."""

    base_url: str
    """Where the gateway's provider instance begins."""
    token: str
    own_key: str | None = None

    @property
    def key(self) -> str:
        """What belongs into the client's own setting for an API key."""
        return self.own_key or self.token


@dataclass(frozen=True, slots=True)
class Setup:
    """What to run. The names of `files` are relative to the home."""

    arguments: list[str]
    environment: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Client:
    """One client: what the gateway must see in it, and how it is pointed at a gateway."""

    id: str
    command: str
    provider: str
    """The type of provider it speaks to."""
    instance: str
    """The gateway's instance of it."""
    model: str
    recorded_name: str
    session_header: bytes
    own_slot: bytes
    """The header in which it sends its credential."""
    tool: Callable[[Path], ToolUse]
    """The call of the scripted model; it leaves `FILE_NAME` with `FILE_TEXT` in the working directory given."""
    setup: Callable[[Access], Setup]
    fenced: bool = True
    """Whether it is told of the fence; without, it behaves as where there is no proxy."""
    stays_inside: bool = True
    """Whether its vendor's switches keep it from calling anybody but the gateway."""
    shows_thoughts: bool = True
    """Whether its API carries reasoning that can be recorded."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client runs: two empty folders, and the URL of the fence (`tests.e2e.fence`)."""

    home: Path
    work: Path
    fence: str


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    stdout: str
    stderr: str


async def run(client: Client, binaries: Path, access: Access, place: Place) -> Outcome:
    """One non-interactive run, with nothing of this user's own environment but the search path."""
    setup = client.setup(access)
    for name, text in setup.files.items():
        path = place.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    environment = {**_environment(place, fenced=client.fenced), **setup.environment}
    return await finished(
        binaries / client.command, *setup.arguments, cwd=place.work, environment=environment
    )


async def finished(*command: str | Path, cwd: Path, environment: dict[str, str]) -> Outcome:
    """Run a command to its end, or to the end of our patience."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(), RUN_TIMEOUT_S)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return Outcome(process.returncode or 0, stdout.decode(), stderr.decode())


def _environment(place: Place, *, fenced: bool) -> dict[str, str]:
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy") if fenced else ()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(place.home),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        **dict.fromkeys(proxies, place.fence),
    }
