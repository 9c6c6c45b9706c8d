"""All that a whole run writes into its logs, at the lowest level: the facts in both shapes, and nobody's words."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any, Final

import httpx

from gateway.settings import TerminalVariables, terminal_variables
from providers.secret import Secret
from tests.answers import anthropic
from tests.answers.turn import ToolUse, Turn
from tests.gateway.test_server import AUTHORIZATION, SSE, Serving, gateway
from tests.upstream import CUT, Reply

WORD: Final = "quokka"
"""In every prompt, answer, thought, argument and complaint of the run, and nowhere else."""
TURN: Final = Turn(
    text=f"the {WORD} answer", thought=f"the {WORD} thought", tool=ToolUse("look", f'{{"for":"{WORD}"}}')
)
COMPLAINT: Final = json.dumps(
    {"error": {"type": "overloaded_error", "message": f"{WORD} is too much"}}
).encode()


def body(**changes: Any) -> bytes:
    message = {"role": "user", "content": f"the {WORD} prompt"}
    return json.dumps({"model": "m", "max_tokens": 9, "messages": [message], **changes}).encode()


async def a_run(folder: Path, **settings: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """The human log's lines and the JSON log's, of all that can happen to a request."""
    replies = [
        anthropic.reply(TURN, streamed=True),
        anthropic.reply(TURN, streamed=False),
        Reply(400, chunks=[COMPLAINT]),
        Reply(529, [(b"retry-after-ms", b"1")], [COMPLAINT]),
        Reply(529, [(b"x-should-retry", b"false")], [COMPLAINT]),
        Reply(200, SSE, [f"data: {WORD} is no JSON\n\n".encode(), CUT]),
        *[anthropic.reply(Turn(text=f"the {WORD} of a chat"), streamed=True)] * 4,
    ]
    log_json = folder / "log.json"
    async with gateway(
        folder, *replies, log_json=str(log_json), log_level="debug", chat_enabled=True, **settings
    ) as run:
        await _ask(run)
        await _chat(run)
        run.process.signal(signal.SIGTERM)
        assert await run.process.ended() == 0
    return run.process.log, [json.loads(line) for line in log_json.read_text().splitlines()]


async def _ask(run: Serving) -> None:
    statuses = []
    async with httpx.AsyncClient(timeout=30, headers=AUTHORIZATION) as client:
        messages = f"{run.url}/v1/messages?q={WORD}"
        for content in (body(stream=True), body(), body(), body()):
            statuses.append((await client.post(messages, content=content)).status_code)
        try:
            await client.post(messages, content=body(stream=True))
        except httpx.RemoteProtocolError:
            statuses.append(0)
        statuses.append((await client.post(messages, content=body()[:-1])).status_code)
        statuses.append(
            (await client.post(messages, content=body(), headers={"authorization": "x"})).status_code
        )
        statuses.append((await client.get(f"{run.url.removesuffix('/anthropic')}/readyz")).status_code)
    assert statuses == [200, 200, 400, 529, 0, 400, 400, 200]


async def _chat(run: Serving) -> None:
    """A turn of the chat service, which calls the model through a vendor's SDK."""
    root = run.url.removesuffix("/anthropic")
    async with httpx.AsyncClient(timeout=30, headers=AUTHORIZATION) as client:
        begun = await client.post(f"{root}/chats", json={"message": f"a {WORD}", "model": "anthropic/m"})
        assert begun.status_code == 201
        async with client.stream("GET", f"{root}/chats/{begun.json()['id']}/stream") as events:
            async for line in events.aiter_lines():
                if WORD in line and '"assistant"' in line:
                    break


async def test_no_line_has_a_prompt_an_answer_or_a_complaint(tmp_path: Path) -> None:
    """At the lowest level, with every kind of end that a request can have; and the run did say something."""
    human, plain = await a_run(tmp_path)
    assert [line for line in human if WORD in line] == []
    assert [line for line in plain if WORD in json.dumps(line)] == []
    assert {line["logger"] for line in plain} >= {
        "ai_gateway.access",
        "ai_gateway.health",
        "ai_gateway.server",
    }
    assert {line["level"] for line in plain} >= {"DEBUG", "INFO"}


async def test_with_structured_logging_only_the_records_have_them(tmp_path: Path) -> None:
    """Which is what was asked for."""
    human, plain = await a_run(tmp_path, structured_logging=True)
    telling = [line for line in plain if WORD in json.dumps(line)]
    assert {line["message"] for line in telling} == {"interception log"}
    assert {line["record_type"] for line in telling} >= {"prompt_usage", "tool_usage", "model_thought"}
    assert all(" ai_gateway.interceptions interception log " in line for line in human if WORD in line)


async def test_both_logs_have_the_same_lines_with_the_same_facts(tmp_path: Path) -> None:
    """In the same order; only the shape differs, and a pipe gets no colors."""
    human, plain = await a_run(tmp_path)
    first_lines = [line for line in human if re.match(r"\d{4}-\d\d-\d\dT", line)]  # a traceback has more
    for line, fields in zip(first_lines, plain, strict=True):
        head = "{time} {level:<7} {logger} {message}".format(**fields)
        assert line.startswith(head)
        shown = re.findall(r" ([a-z_]+)=", line.removeprefix(head))
        beside = ("time", "level", "logger", "message", "exception")
        assert [name for name in fields if name not in beside] == shown
        assert set(fields.get("exception", "").splitlines()) <= set(human)
    assert not any("\x1b" in line for line in human)


def test_whether_colors_are_welcome_is_asked_of_the_environment() -> None:
    """As https://no-color.org has it, for the log as for chats."""
    assert terminal_variables({}) == TerminalVariables(Secret(""), color=True)
    assert not terminal_variables({"NO_COLOR": "1"}).color
    assert not terminal_variables({"TERM": "dumb"}).color
