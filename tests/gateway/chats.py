"""A scripted provider for chats, and the environment in which `ai-gateway chat` talks with it."""

from __future__ import annotations

from collections.abc import Sequence

from tests.answers import anthropic
from tests.answers.turn import STREAM_HEADERS, Turn
from tests.gateway.rig import TOKEN
from tests.upstream import Answer, Received, Reply, Step, Upstream

MODEL = "anthropic/scripted-model"
TITLE = "A scripted title"


def chatty(*answers: Answer) -> Upstream:
    """Gives the answers to the turns of chats, in order, and to who asks for a title that."""
    remaining = list(answers)

    def answer(request: Received) -> Reply:
        if request.json["messages"][-1]["role"] == "assistant":
            return said(TITLE)
        if not remaining:
            return anthropic.error(500, "api_error", "the script is at its end")
        this = remaining.pop(0)
        return this if isinstance(this, Reply) else this(request)

    return Upstream(answer)


def said(text: str, **changes: object) -> Reply:
    return anthropic.reply(Turn(text=text, **changes), streamed=True)  # type: ignore[arg-type]


def interrupted_by(gate: Step, text: str) -> Reply:
    """An answer that is held back before its last word."""
    events = anthropic.events(Turn(text=text))
    last = max(index for index, event in enumerate(events) if b"text_delta" in event)
    steps: Sequence[Step] = [*events[:last], gate, *events[last:]]
    return Reply(200, STREAM_HEADERS, steps)


def turns(upstream: Upstream) -> list[Received]:
    """The requests for turns, without those for titles."""
    return [one for one in upstream.requests if one.json["messages"][-1]["role"] == "user"]


def environment(provider_url: str) -> dict[str, str]:
    """Settings, and the person's token."""
    return {
        "AI_GATEWAY_AUTH": "static",
        "AI_GATEWAY_STATIC_TOKEN": TOKEN,
        "AI_GATEWAY_MAX_RETRIES": "0",
        "AI_GATEWAY_CHAT_MODEL": MODEL,
        "AI_GATEWAY_PROVIDER_0_TYPE": "anthropic",
        "AI_GATEWAY_PROVIDER_0_BASE_URL": provider_url,
        "AI_GATEWAY_PROVIDER_0_KEY": "sk-ant-fake-central-anthropic-key",
        "GATEWAY_TOKEN": TOKEN,
    }
