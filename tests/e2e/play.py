"""Plays one turn: client, tap, gateway and scripted provider, each started and ended here.

    client ─▶ tap ─▶ gateway ─▶ scripted provider

The client works in empty folders, and finds a fence where the internet would be.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from tests.answers.agent import Agent
from tests.answers.turn import ToolUse
from tests.e2e.bedrock import judging
from tests.e2e.client import Access, Client, Outcome, Place, run
from tests.e2e.fence import fenced
from tests.e2e.gateway import Gateway, hosting_gateway, serving_gateway
from tests.e2e.records import Recorded, read_records
from tests.e2e.tap import Exchanged, tapped
from tests.servers import serving
from tests.upstream import Received, Step, Upstream

Mode: TypeAlias = Literal["centralized", "byok"]
MODES: tuple[Mode, ...] = ("centralized", "byok")

Host: TypeAlias = Literal["serve", "uvicorn"]
HOSTS: dict[Host, Callable[[Gateway], AbstractAsyncContextManager[None]]] = {
    "serve": serving_gateway,
    "uvicorn": hosting_gateway,
}
"""What runs the gateway."""

ANSWER = "The greeting is written, said the scripted model."
THOUGHT = "A file is asked for."
OWN_KEY = "fake-own-key-of-the-user"
USER = "alice"


@dataclass(frozen=True, slots=True)
class Played:
    """Everything that can be known of a turn after it."""

    client: Client
    mode: Mode
    access: Access
    tool: ToolUse
    work: Path
    outcome: Outcome
    sent: list[Exchanged]
    """What the client exchanged with the gateway."""
    seen: list[Received]
    """What the provider got."""
    recorded: Recorded
    gateway_log: str
    database: bytes
    attempts_to_leave: list[str]


async def play(
    client: Client,
    mode: Mode,
    host: Host,
    *,
    binaries: Path,
    folder: Path,
    before_the_end: tuple[Step, ...] = (),
) -> Played:
    """One turn of `client` in `mode`, with everything it leaves below `folder`.

    `before_the_end` are steps of the provider between the last event of each answer and its end.
    """
    home, work, state = (folder / name for name in ("home", "work", "gateway"))
    for path in (home, work, state):
        path.mkdir()
    tool = client.tool(work)
    upstream = Upstream(judging(Agent(tool, ANSWER, THOUGHT, before_the_end=before_the_end)))
    async with fenced() as fence, serving(upstream) as upstream_url:
        gateway = Gateway(state, upstream_url)
        token = await gateway.new_token(USER)
        own_key = OWN_KEY if mode == "byok" else None
        async with HOSTS[host](gateway), tapped(gateway.port) as tap:
            access = Access(f"{tap.url}/api/v2/ai-gateway/{client.instance}", token, own_key)
            outcome = await run(client, binaries, access, Place(home, work, fence.url))
    return Played(
        client,
        mode,
        access,
        tool,
        work,
        outcome,
        tap.exchanges(),
        upstream.requests,
        read_records(gateway.database),
        "\n".join(gateway.log),
        b"".join(path.read_bytes() for path in state.iterdir() if path.is_file()),
        fence.attempts,
    )
