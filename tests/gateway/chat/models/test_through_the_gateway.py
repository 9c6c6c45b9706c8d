"""The same streams with the gateway between: they come piece by piece, and hanging up reaches the provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.ai_providers import AiProvider
from gateway.chat.content import ModelError, Speaker, TextDelta
from gateway.chat.models import speaker_for
from gateway.chat.routing import (
    ChatIdentity,
    Ends,
    GatewayRoute,
    ModelName,
    ModelOptions,
    ModelRequest,
    build_model,
)
from tests.answers.turn import Turn
from tests.gateway.chat.models.apis import CHAT, MESSAGES, QUESTION, RESPONSES, Api, answer_of, heard
from tests.gateway.rig import KEY_ID, in_process
from tests.upstream import CUT, Upstream
from tests.waiting import PATIENCE_S

every_api = pytest.mark.parametrize("api", [MESSAGES, CHAT, RESPONSES], ids=lambda api: api.id)


@asynccontextmanager
async def speaking(api: Api, upstream: Upstream) -> AsyncIterator[Speaker]:
    """Through the gateway's instance that is named as its type."""
    provider = AiProvider("row-1", api.kind, api.kind, enabled=True, base_url=api.base_url)
    request = ModelRequest(ChatIdentity("chat-1", "chat-1", "ada"), ModelName(api.kind, "scripted-model"))
    async with in_process(upstream) as rig:
        model = build_model(
            request,
            GatewayRoute(provider, None),
            ModelOptions(active_api_key_id=KEY_ID),
            ends=Ends(gateway=rig.app),
        )
        try:
            yield speaker_for(model)
        finally:
            await model.aclose()


@every_api
async def test_hanging_up_reaches_the_provider(api: Api) -> None:
    """What came until then was told at once."""
    upstream = Upstream(api.stream([*api.split(Turn(text="It is sunny"), "It ")[0], asyncio.Event()]))
    async with speaking(api, upstream) as speaker, asyncio.timeout(PATIENCE_S):
        events = speaker.stream(QUESTION)
        assert await anext(events) == TextDelta("It ")
        await events.aclose()

        await upstream.requests[0].disconnected.wait()


@every_api
async def test_a_whole_answer_is_no_hang_up(api: Api) -> None:
    """The stream is read to its end, so that the gateway records an answer and not a client that left."""
    upstream = Upstream(api.reply(Turn(text="It is sunny")))
    async with speaking(api, upstream) as speaker:
        answer = answer_of(await heard(speaker, QUESTION))

    assert answer.stop == "end"
    assert upstream.requests[0].answered.is_set()
    assert not upstream.requests[0].disconnected.is_set()


@every_api
async def test_a_provider_that_breaks_off_is_an_error(api: Api) -> None:
    """The gateway passes the cut on, and it doesn't pass for an end."""
    upstream = Upstream(api.stream([*api.split(Turn(text="It is sunny"), "It ")[0], CUT]))
    async with speaking(api, upstream) as speaker:
        with pytest.raises(ModelError) as caught:
            await heard(speaker, QUESTION)

    assert caught.value.status == 0


@every_api
async def test_a_refusal_comes_with_its_status_and_the_providers_words(api: Api) -> None:
    """The gateway leaves an error as it is."""
    upstream = Upstream(api.error(400, "The model is not in the mood."))
    async with speaking(api, upstream) as speaker:
        with pytest.raises(ModelError) as caught:
            await heard(speaker, QUESTION)

    assert (str(caught.value), caught.value.status) == ("The model is not in the mood.", 400)
