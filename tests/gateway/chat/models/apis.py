"""The ways in which a model is spoken to, each with a scripted provider at the other end of the vendor's SDK.

upstream = Upstream(api.reply(Turn(text="Hello")))
async with api.speaker(upstream) as speaker:
    events = await heard(speaker, Ask(messages=(user("Hi"),)))
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from gateway.ai_providers import AiProvider, ProviderKind
from gateway.asgi_transport import AsgiTransport
from gateway.chat.content import Answer, AnswerEvent, Ask, Part, Said, Speaker, Text, ToolSpec
from gateway.chat.models import speaker_for
from gateway.chat.routing import (
    ChatIdentity,
    DirectRoute,
    Ends,
    Model,
    ModelName,
    ModelOptions,
    ModelRequest,
    build_model,
)
from providers.secret import Secret
from tests.answers import anthropic, bedrock, chat, responses
from tests.answers.turn import STREAM_HEADERS, Turn, data_event, named_event
from tests.upstream import Reply, Step, Upstream

if TYPE_CHECKING:
    import httpx2
    from starlette.types import ASGIApp

NAME = ModelName("scripted", "scripted-model")
WEATHER = ToolSpec(
    name="get_weather",
    description="the weather of a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
)


@dataclass(frozen=True, slots=True)
class Api:
    """One API: what the provider is called, and how it words its answers."""

    id: str
    kind: ProviderKind
    base_url: str
    path: str
    events: Callable[[Turn], list[bytes]]
    """Of a turn, as the pieces of a stream."""
    error: Callable[[int, str], Reply]
    broken_off: Callable[[str], bytes]
    """The piece by which an error shows in mid-stream."""
    unknown: Sequence[bytes] = ()
    """Pieces with events that nobody has heard of."""
    end_at: int = -1
    """Where in `events` that one is without which the answer isn't complete."""
    headers: Any = STREAM_HEADERS
    unframed: Callable[[Turn], list[bytes]] | None = None
    """The events in a form in which text can be looked for, where `events` has another."""

    def reply(self, turn: Turn) -> Reply:
        return self.stream(self.events(turn))

    def stream(self, steps: Sequence[Step]) -> Reply:
        return Reply(200, self.headers, list(steps))

    def split(self, turn: Turn, text: str) -> tuple[list[bytes], list[bytes]]:
        """The pieces until the one that says `text`, and those behind it."""
        pieces = self.events(turn)
        wanted = b'"%s"' % text.encode()
        readable = (self.unframed or self.events)(turn)
        index = next(index for index, piece in enumerate(readable) if wanted in piece) + 1
        return pieces[:index], pieces[index:]

    def model(self, upstream: ASGIApp, name: ModelName = NAME) -> Model:
        """Without the SDK's retries: a scripted answer is given once."""
        provider = AiProvider(
            "row-1", name.provider, self.kind, enabled=True, base_url=self.base_url, region="eu-west-1"
        )
        route = DirectRoute(provider, Secret("sk-fake-key-of-the-provider"), key_is_users=False)
        request = ModelRequest(ChatIdentity("chat-1", "chat-1", "ada"), name)
        transport = cast("httpx2.AsyncBaseTransport", AsgiTransport(upstream))
        model = build_model(request, route, ModelOptions(), ends=Ends(direct=transport))
        return replace(model, client=model.client.with_options(max_retries=0))

    @asynccontextmanager
    async def speaker(self, upstream: ASGIApp, name: ModelName = NAME) -> AsyncIterator[Speaker]:
        model = self.model(upstream, name)
        try:
            yield speaker_for(model)
        finally:
            await model.aclose()

    async def ask(self, reply: Reply, ask: Ask, name: ModelName = NAME) -> tuple[Any, list[AnswerEvent]]:
        """What the provider got, and what was heard of its answer."""
        upstream = Upstream(reply)
        async with self.speaker(upstream, name) as speaker:
            events = await heard(speaker, ask)
        return upstream.requests[0].json, events

    async def sent(self, ask: Ask, name: ModelName = NAME) -> Any:
        """What the provider got."""
        return (await self.ask(self.reply(Turn(text="Hello")), ask, name))[0]

    async def answer(self, reply: Reply) -> Answer:
        """What came of the provider's answer."""
        return answer_of((await self.ask(reply, QUESTION))[1])


MESSAGES = Api(
    id="messages",
    kind="anthropic",
    base_url="http://provider.test",
    path="/v1/messages",
    events=anthropic.events,
    error=lambda status, text: anthropic.error(status, "some_error", text),
    broken_off=lambda text: anthropic.error_event("overloaded_error", text),
    unknown=[
        named_event({"type": "brand_new_event", "index": 7}),
        named_event({"type": "content_block_start", "index": 7, "content_block": {"type": "brand_new"}}),
        named_event({"type": "content_block_delta", "index": 7, "delta": {"type": "new_delta", "text": "!"}}),
        named_event({"type": "content_block_delta", "index": 0, "delta": {"type": "new_delta", "text": "!"}}),
        named_event({"type": "content_block_stop", "index": 7}),
    ],
)
BEDROCK = Api(
    id="bedrock",
    kind="bedrock",
    base_url="http://bedrock.test",
    path="/model/scripted-model/invoke-with-response-stream",
    events=lambda turn: [bedrock.chunk(event) for event in bedrock.events(turn)],
    error=lambda status, text: bedrock.error(status, "ValidationException", {"message": text}),
    broken_off=lambda text: bedrock.exception("throttlingException", text),
    unknown=[bedrock.chunk(b'{"type": "brand_new_event", "index": 7}')],
    headers=[bedrock.EVENT_STREAM],
    unframed=bedrock.events,
)
CHAT = Api(
    id="chat",
    kind="openai",
    base_url="http://provider.test/v1",
    path="/v1/chat/completions",
    events=chat.events,
    error=lambda status, text: chat.error(status, "some_error", text),
    broken_off=lambda text: chat.error_event("server_error", text),
    unknown=[
        data_event({"object": "brand.new", "choices": None}),
        data_event({"choices": [{"index": 0, "delta": {"brand_new": 1}}]}),
    ],
    end_at=-3,  # the usage and the end mark come behind it
)
RESPONSES = Api(
    id="responses",
    kind="openai",
    base_url="https://api.openai.com/v1",
    path="/v1/responses",
    events=responses.events,
    error=lambda status, text: responses.error(status, "some_error", text),
    broken_off=lambda text: responses.error_event("server_error", text),
    unknown=[
        named_event({"type": "response.brand_new", "sequence_number": 99}),
        named_event({"type": "response.output_item.done", "output_index": 7, "item": {"type": "brand_new"}}),
    ],
)
ALL = (MESSAGES, BEDROCK, CHAT, RESPONSES)


def user(text: str) -> Said:
    return Said("user", (Text(text),))


def assistant(*parts: Part) -> Said:
    return Said("assistant", parts)


QUESTION = Ask(messages=(user("How is the weather?"),), tools=(WEATHER,))


async def heard(speaker: Speaker, ask: Ask) -> list[AnswerEvent]:
    return [event async for event in speaker.stream(ask)]


def answer_of(events: Sequence[AnswerEvent]) -> Answer:
    """The one answer, at the end."""
    assert [event for event in events if isinstance(event, Answer)] == [events[-1]]
    return cast("Answer", events[-1])
