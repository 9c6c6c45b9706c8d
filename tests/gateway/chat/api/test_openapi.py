"""The OpenAPI document of the chat service."""

from __future__ import annotations

from gateway.chat.api.operations import CHAT
from tests.gateway.chat.api.client import Client


async def test_every_route_is_described(client: Client) -> None:
    """The document stands below the path where it was asked for, and has each route once."""
    document = await client.told("GET", "/chats/openapi.json")

    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {("GET", CHAT.document), *((one.method, one.path) for one in CHAT.operations)}
    assert document["servers"] == [{"url": "/api/v2/ai-gateway"}]


async def test_the_stream_is_described_by_its_events(client: Client) -> None:
    """Each kind of event by name."""
    document = await client.told("GET", "/chats/openapi.json")

    answer = document["paths"]["/chats/{chat_id}/stream"]["get"]["responses"]["200"]["content"]
    schema = answer["text/event-stream"]["schema"]
    assert set(schema["discriminator"]["mapping"]) == {
        "model",
        "delta",
        "message",
        "queue",
        "status",
        "title",
    }
