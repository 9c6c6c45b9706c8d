"""The tap: it must change nothing, and read back what it saw."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from tests.e2e.tap import tapped
from tests.servers import serving
from tests.upstream import Reply, Upstream


async def test_both_ways_are_noted_on_one_connection() -> None:
    """Requests and answers of a kept-alive connection are told apart, whether chunked, sized or without a body."""
    sized = Reply(201, ((b"content-length", b"5"), (b"x-kind", b"sized")), [b"hello"])
    upstream = Upstream([Reply(200), Reply(chunks=[b"one", b"two"]), sized])

    async def chunked_body() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async with (
        serving(upstream) as url,
        tapped(int(url.rpartition(":")[2])) as tap,
        httpx.AsyncClient(base_url=tap.url) as client,
    ):
        await client.head("/x")
        await client.post("/y?z", content=chunked_body())
        await client.post("/z", content=b"whole", headers={"X-A": "1"})
    assert len(tap.connections) == 1
    seen = [(each.method, each.target, each.body, each.status, each.answer) for each in tap.exchanges()]
    assert seen == [
        ("HEAD", b"/x", b"", 200, b""),
        ("POST", b"/y?z", b"ab", 200, b"onetwo"),
        ("POST", b"/z", b"whole", 201, b"hello"),
    ]
    assert (b"x-a", b"1") in tap.exchanges()[2].headers
    assert (b"x-kind", b"sized") in tap.exchanges()[2].answer_headers
