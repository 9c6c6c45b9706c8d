"""The vendors' SDKs for Node.js: a conversation by a script of `node/` for each API and credential.

    script ─▶ tap ─▶ gateway (`ai-gateway serve`) ─▶ scripted provider

One gateway serves them all, one after the other. Each has a model name of its own, by which the provider's requests
and the records are told apart afterwards. A plain `node` runs them, in folders that are otherwise empty.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from dataclasses import dataclass, replace
from itertools import product, starmap
from pathlib import Path

from tests.answers import anthropic, chat
from tests.answers.agent import Agent
from tests.answers.turn import ToolUse
from tests.e2e.client import GOVERNANCE_HEADER, Access, Outcome, finished
from tests.e2e.gateway import Gateway, serving_gateway
from tests.e2e.play import ANSWER, MODES, OWN_KEY, USER, Mode
from tests.e2e.records import Recorded, read_records
from tests.e2e.tap import Exchanged, tapped
from tests.servers import serving
from tests.upstream import Received, Reply, Upstream

SCRIPTS = Path(__file__).with_name("node")
TOOL = "get_weather"
TOOL_INPUT = {"city": "Turin"}
TOOL_RESULT = "sunny, 21 degrees"
REFUSAL = "slow down, says the scripted model"
PROMPTS = {
    "blocking": "Say hello.",
    "aborted": "Tell me everything.",
    "tool": "What is the weather in Turin?",
    "refused": "Say hello once too often.",
}
"""What each script asks, in this order; the third takes two requests."""

EVENTS_BEFORE_THE_ABORT = 6
"""Enough for some text in each of the formats, and not enough for all of it."""


@dataclass(frozen=True, slots=True)
class Api:
    """One recorded API. `id` names its script, `provider` the type and `instance` the name at the gateway."""

    id: str
    provider: str
    instance: str


APIS = (
    Api("chat", "openai", "gpt"),
    Api("responses", "openai", "gpt"),
    Api("messages", "anthropic", "claude"),
)


@dataclass(frozen=True, slots=True)
class Talk:
    """One conversation: the run of a script with one of the credentials."""

    api: Api
    mode: Mode

    @property
    def id(self) -> str:
        return f"{self.api.id}-{self.mode}"

    @property
    def model(self) -> str:
        return f"scripted-{self.id}"


TALKS = tuple(starmap(Talk, product(APIS, MODES)))


@dataclass(frozen=True, slots=True)
class Talked:
    """What the conversations came to. A script's result and what it exchanged are found by its conversation."""

    outcomes: dict[Talk, Outcome]
    sent: dict[Talk, list[Exchanged]]
    seen: list[Received]
    recorded: Recorded
    token: str
    left_behind: bytes
    """The log and every file of the gateway."""


def call_id_of(model: str) -> str:
    """No two conversations may share a call: it is what a tool's result is attributed by."""
    return f"call_of_{model}"


class Provider:
    """Answers by what is asked. What comes after an aborted answer waits until this provider has heard of that."""

    def __init__(self) -> None:
        self._aborted: Received | None = None

    def __call__(self, request: Received) -> Reply:
        held, self._aborted = self._aborted, None
        if PROMPTS["refused"].encode() in request.body:
            refuse = anthropic.error if request.path.endswith("/messages") else chat.error
            return refuse(429, "rate_limit_error", REFUSAL)
        call = ToolUse(TOOL, json.dumps(TOOL_INPUT), call_id_of(request.json["model"]))
        reply = Agent(call, ANSWER)(request)
        chunks = list(reply.chunks)
        if PROMPTS["aborted"].encode() in request.body:
            self._aborted = request
            return replace(reply, chunks=[*chunks[:EVENTS_BEFORE_THE_ABORT], asyncio.Event()])
        return replace(reply, chunks=[held.disconnected, *chunks]) if held else reply


async def talk(modules: Path, folder: Path) -> Talked:
    """Hold all the conversations. `modules` is where npm has put the SDKs."""
    scripts, state = folder / "scripts", folder / "gateway"
    shutil.copytree(SCRIPTS, scripts)
    (scripts / "node_modules").symlink_to(modules)  # an import is looked up beside its script
    state.mkdir()
    upstream = Upstream(Provider())
    outcomes, sent = {}, {}
    async with serving(upstream) as upstream_url:
        gateway = Gateway(state, upstream_url)
        token = await gateway.new_token(USER)
        async with serving_gateway(gateway):
            for each in TALKS:
                async with tapped(gateway.port) as tap:
                    outcomes[each] = await _run(each, scripts, tap.url, token)
                sent[each] = tap.exchanges()
    files = [path.read_bytes() for path in state.rglob("*") if path.is_file()]
    left_behind = b"\n".join(["\n".join(gateway.log).encode(), *files])
    return Talked(outcomes, sent, upstream.requests, read_records(gateway.database), token, left_behind)


async def _run(talk: Talk, scripts: Path, url: str, token: str) -> Outcome:
    own_key = OWN_KEY if talk.mode == "byok" else None
    access = Access(f"{url}/api/v2/ai-gateway/{talk.api.instance}", token, own_key)
    given = {
        "baseURL": access.base_url,
        "apiKey": access.key,
        "headers": {GOVERNANCE_HEADER: token} if own_key else {},
        "model": talk.model,
        "prompts": PROMPTS,
        "toolResult": TOOL_RESULT,
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(scripts), "GIVEN": json.dumps(given)}
    return await finished("node", f"{talk.api.id}.mjs", cwd=scripts, environment=environment)
