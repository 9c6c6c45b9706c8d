"""The upstream: the provider's bytes as they come, four timeouts, and a client that leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import httpx
import pytest
from starlette.types import Scope

from middleware.errors import BadRequest, ClientLeft, UpstreamBroke, UpstreamTimeout, UpstreamUnreachable
from middleware.exchange import CHUNKS, Exchange
from middleware.upstream import Timeouts, Upstream
from tests.asgi import call, drive, http_scope

Step = bytes | asyncio.Event | Exception


class Stream(httpx.AsyncByteStream):
    """A body that is played step by step: bytes come, an event holds it back, an exception breaks it."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self.steps = steps
        self.closed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self.steps:
            if isinstance(step, bytes):
                yield step
            elif isinstance(step, Exception):
                raise step
            else:
                await step.wait()

    async def aclose(self) -> None:
        self.closed.set()


class Provider(httpx.AsyncBaseTransport):
    """The other side of the seam: keeps each request, answers with its head after `thinks`, then with its stream."""

    def __init__(
        self,
        *steps: Step,
        status: int = 200,
        headers: Sequence[tuple[bytes, bytes]] = (),
        fails: Exception | None = None,
        thinks: asyncio.Event | None = None,
    ) -> None:
        self.status, self.headers, self.fails, self.thinks = status, headers, fails, thinks
        self.stream = Stream(steps)
        self.requests: list[httpx.Request] = []
        self.asked = asyncio.Event()
        self.given_up = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.asked.set()
        try:
            if self.thinks is not None:
                await self.thinks.wait()
        except asyncio.CancelledError:
            self.given_up = True
            raise
        if self.fails is not None:
            raise self.fails
        return httpx.Response(self.status, headers=list(self.headers), stream=self.stream)

    async def closed(self) -> None:
        """Wait until the answer has been closed."""
        async with asyncio.timeout(10):
            await self.stream.closed.wait()

    @property
    def request(self) -> httpx.Request:
        (request,) = self.requests
        return request


class Clock:
    """The time of the event loop, which a test moves on; its timers fire as if the time had passed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = asyncio.get_running_loop()
        self.ahead_s = 0.0
        real = self.loop.time
        monkeypatch.setattr(self.loop, "time", lambda: real() + self.ahead_s)

    async def advance(self, seconds: float) -> None:
        """Return when the timers that are due by then have fired."""
        self.ahead_s += seconds
        fired = asyncio.Event()
        self.loop.call_later(0, fired.set)
        await fired.wait()


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


TIMEOUTS = Timeouts(connect_s=5, first_byte_s=300, idle_s=60, total_s=1000)


def request_to(target: str | bytes = "/v1/messages", *, method: str = "POST", **options: Any) -> Scope:
    scope = http_scope(method, target, **options)
    return {**scope, "scheme": "https", "server": ("provider.test", 443)}


# -- the request --------------------------------------------------------------------------------------------------


async def test_the_request_is_what_the_scope_says() -> None:
    """Method, target, headers in order with duplicates, and the body's bytes; only the length is added."""
    provider = Provider(b"{}")
    headers = [("host", "h.test"), ("b", "1"), ("a", "2"), ("b", "3")]
    await call(Upstream(provider), request_to("/v1/a%2Fb?x=%2f&&y=+", headers=headers), [b"one", b"two"])
    request = provider.request
    assert (request.method, request.url.scheme, request.url.host, request.url.port) == (
        "POST",
        "https",
        "provider.test",
        None,
    )
    assert request.url.raw_path == b"/v1/a%2Fb?x=%2f&&y=+"
    assert isinstance(request.stream, httpx.ByteStream)
    assert b"".join(request.stream) == b"onetwo"
    assert request.headers.raw == [
        (b"host", b"h.test"),
        (b"b", b"1"),
        (b"a", b"2"),
        (b"b", b"3"),
        (b"content-length", b"6"),
    ]


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", b"", None),
        ("HEAD", b"", None),
        ("DELETE", b"", None),
        ("OPTIONS", b"", None),
        ("POST", b"", b"0"),
        ("PUT", b"", b"0"),
        ("DELETE", b"x", b"1"),
    ],
)
async def test_a_length_is_sent_where_a_body_is_expected(
    method: str, body: bytes, length: bytes | None
) -> None:
    """RFC 9110 section 8.6: also for an empty body, where the method gives it a meaning."""
    provider = Provider()
    await call(Upstream(provider), request_to(method=method), body)
    assert dict(provider.request.headers.raw).get(b"content-length") == length


@pytest.mark.parametrize("query", [b'{"a":[1]}', b"<x>", b"a|b^c`"])
async def test_a_query_goes_up_as_raw_as_it_came(query: bytes) -> None:
    """httpx would percent-encode some of it; its `target` extension says what to send."""
    provider = Provider()
    await call(Upstream(provider), request_to(b"/v1/models?" + query, method="GET"))
    request = provider.request
    assert request.extensions.get("target", request.url.raw_path) == b"/v1/models?" + query


async def test_the_transport_times_only_the_connect() -> None:
    """The others are watched here, alike for every transport."""
    provider = Provider()
    await call(Upstream(provider, timeouts=TIMEOUTS), request_to())
    assert provider.request.extensions["timeout"] == {"connect": 5, "pool": 5, "read": None, "write": None}


async def test_a_client_that_leaves_while_sending_is_not_sent_on() -> None:
    """Nothing is asked of the provider."""
    provider, scope = Provider(), request_to()
    async with drive(Upstream(provider), scope, body=None) as client:
        client.feed(b"half")
        client.disconnect()
        assert isinstance(await client.failed(), ClientLeft)
    assert not provider.requests
    assert Exchange.of(scope).client_left


# -- the answer ---------------------------------------------------------------------------------------------------


async def test_status_and_headers_come_as_they_are() -> None:
    """Case, order and duplicates included."""
    headers = [(b"X-B", b"1"), (b"content-type", b"text/plain"), (b"x-b", b"2"), (b"Set-Cookie", b"a=b")]
    client = await call(Upstream(Provider(b"x", status=418, headers=headers)), request_to())
    assert (client.status, client.headers) == (418, headers)


async def test_each_chunk_leaves_when_it_comes() -> None:
    """None merged, held or invented; an empty one is none."""
    gates = [asyncio.Event(), asyncio.Event()]
    provider = Provider(b"one", gates[0], b"", b"two", gates[1], b"three")
    async with drive(Upstream(provider), request_to()) as client:
        assert (await client.message(1))["body"] == b"one"
        gates[0].set()
        assert (await client.message(2))["body"] == b"two"
        assert not client.complete
        gates[1].set()
        await client.completed()
    assert client.chunks == [b"one", b"two", b"three"]
    assert client.messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert provider.stream.closed.is_set()


class Together(Stream):
    """Chunks that arrived together, as lists of them."""

    async def together(self) -> AsyncIterator[list[bytes]]:
        yield [b"one", b"two"]
        yield [b"three"]


@pytest.mark.parametrize("server_takes_them", [True, False])
async def test_chunks_that_arrived_together_leave_together_where_the_server_takes_them(
    server_takes_them: bool,
) -> None:
    """In one message that says where each begins; any other server gets a message for each."""
    provider = Provider(headers=[(b"content-length", b"11")] if server_takes_them else [])
    provider.stream = Together([b"one", b"two", b"three"])
    scope = request_to()
    if server_takes_them:
        scope["extensions"] = {CHUNKS: {}}
    client = await call(Upstream(provider), scope)
    bodies = [message for message in client.messages if message["type"] == "http.response.body"]
    if server_takes_them:
        assert bodies == [
            {"type": "http.response.body", "body": b"onetwo", "more_body": True, CHUNKS: [b"one", b"two"]},
            {"type": "http.response.body", "body": b"three", "more_body": False},
        ]
    else:
        assert [message["body"] for message in bodies] == [b"one", b"two", b"three", b""]
        assert all(CHUNKS not in message for message in bodies)


async def test_the_head_leaves_before_the_body_exists() -> None:
    """A client sees the status of a model that thinks."""
    gate = asyncio.Event()
    async with drive(Upstream(Provider(gate, b"x")), request_to()) as client:
        assert (await client.message(0))["type"] == "http.response.start"
        gate.set()
        await client.completed()


async def test_a_slow_client_slows_the_provider() -> None:
    """The next chunk is asked for when the last has gone: there is no queue between."""
    taken: list[int] = []

    def steps() -> Iterable[Step]:
        for number in range(3):
            taken.append(number)
            yield b"%d" % number

    provider = Provider()
    provider.stream.steps = steps()
    async with drive(Upstream(provider), request_to(), held=True) as client:
        for number in range(4):
            await client.message(number)
            assert len(taken) == number
            client.step()
        client.release()
        await client.completed()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_handed_to_the_client(status: int) -> None:
    """It isn't followed, and no credential goes anywhere else."""
    provider = Provider(status=status, headers=[(b"location", b"https://elsewhere.test/")])
    client = await call(Upstream(provider), request_to(headers=[("authorization", "Bearer fake")]))
    assert (client.status, client.header("location")) == (status, b"https://elsewhere.test/")
    assert len(provider.requests) == 1


async def test_cookies_of_one_user_do_not_reach_another() -> None:
    """Nothing is kept between two requests."""
    provider = Provider(b"x", headers=[(b"set-cookie", b"session=first")])
    upstream = Upstream(provider)
    await call(upstream, request_to())
    await call(upstream, request_to())
    assert "cookie" not in provider.requests[1].headers


async def test_a_cut_is_a_cut() -> None:
    """What came is passed on, and then no end: the server will cut the client's connection."""
    provider = Provider(b"half", httpx.ReadError("reset"))
    async with drive(Upstream(provider), request_to()) as client:
        failure = await client.failed()
        await provider.closed()
    assert isinstance(failure, UpstreamBroke)
    assert failure.message == "the provider's answer broke off: ReadError"
    assert isinstance(failure.__cause__, httpx.ReadError)
    assert (client.body, client.complete) == (b"half", False)


async def test_the_last_byte_of_a_known_length_ends_the_answer() -> None:
    """The server can close it with that chunk; a client that leaves then, or trouble behind it, changes nothing."""
    scope = request_to()
    steps = (b"on", b"e", httpx.ReadError("reset"))
    provider = Provider(*steps, headers=[(b"content-length", b"3")])
    async with drive(Upstream(provider), scope, held=True) as client:
        for number in range(2):
            await client.message(number)
            client.step()
        assert await client.message(2) == {"type": "http.response.body", "body": b"e", "more_body": False}
        client.disconnect()
        client.release()
        await client.completed()
    assert len(client.messages) == 3
    assert not Exchange.of(scope).client_left


@pytest.mark.parametrize(
    ("fails", "status", "message"),
    [
        (httpx.ConnectError("10.0.0.1:443"), 502, "could not reach the provider: ConnectError"),
        (httpx.RemoteProtocolError("x"), 502, "could not reach the provider: RemoteProtocolError"),
        (httpx.ReadError("x"), 502, "could not reach the provider: ReadError"),
        (httpx.ConnectTimeout("x"), 504, "upstream timed out: connect took longer than 5 s"),
        (httpx.PoolTimeout("x"), 504, "upstream timed out: connect took longer than 5 s"),
        (httpx.ReadTimeout("x"), 504, "upstream timed out: first byte took longer than 300 s"),
    ],
)
async def test_trouble_before_the_answer_has_a_status(fails: Exception, status: int, message: str) -> None:
    """The message says what kind it was, and nothing of the address."""
    upstream = Upstream(Provider(fails=fails), timeouts=TIMEOUTS)
    async with drive(upstream, request_to()) as client:
        failure = await client.failed()
    assert isinstance(failure, UpstreamUnreachable | UpstreamTimeout)
    assert (failure.status, failure.message) == (status, message)
    assert failure.__cause__ is fails
    assert not client.messages


@pytest.mark.parametrize(
    ("target", "fails"),
    [
        ("/v1/models", httpx.LocalProtocolError("Illegal header value b'x\\x00'")),
        ("/v1/models?x=" + "y" * 70_000, None),
        (b"/v1/models?x=\x01", None),
    ],
)
async def test_a_request_that_cannot_be_sent_on_is_the_clients_mistake(
    target: str | bytes, fails: Exception | None
) -> None:
    """400, in words of our own: the transport's may quote the header."""
    async with drive(Upstream(Provider(fails=fails)), request_to(target)) as client:
        failure = await client.failed()
    assert isinstance(failure, BadRequest)
    assert "Illegal header value" not in failure.message


async def test_a_bug_of_the_transport_comes_out_as_it_is() -> None:
    """It isn't the provider's failure."""
    bug = KeyError("bug")
    async with drive(Upstream(Provider(fails=bug)), request_to()) as client:
        assert await client.failed() is bug


async def test_a_cancellation_closes_the_provider_and_passes() -> None:
    """It is nobody's timeout."""
    provider = Provider(b"one", asyncio.Event())
    async with drive(Upstream(provider), request_to()) as client:
        await client.message(1)
        client.cancel()
        assert isinstance(await client.failed(), asyncio.CancelledError)
        await provider.closed()
    assert not client.complete


# -- a client that leaves -----------------------------------------------------------------------------------------


async def test_a_client_that_leaves_in_mid_answer_closes_the_provider_at_once() -> None:
    """Though the provider stalls and nothing is there to send: it would go on producing, and billing."""
    provider, scope = Provider(b"one", asyncio.Event()), request_to()
    async with drive(Upstream(provider), scope) as client:
        await client.message(1)
        client.disconnect()
        assert isinstance(await client.failed(), ClientLeft)
        await provider.closed()
    assert Exchange.of(scope).client_left


async def test_a_client_that_leaves_before_the_answer_ends_the_question() -> None:
    """The transport's request is cancelled."""
    provider, scope = Provider(thinks=asyncio.Event()), request_to()
    async with drive(Upstream(provider), scope) as client:
        await provider.asked.wait()
        client.disconnect()
        assert isinstance(await client.failed(), ClientLeft)
    assert provider.given_up
    assert Exchange.of(scope).client_left


async def test_a_client_that_leaves_while_it_is_slow_is_noticed() -> None:
    """A held send doesn't hide it."""
    provider = Provider(b"one", b"two")
    async with drive(Upstream(provider), request_to(), held=True) as client:
        await client.message(0)
        client.step()
        await client.message(1)
        client.disconnect()
        assert isinstance(await client.failed(), ClientLeft)
        await provider.closed()


async def test_a_server_that_says_disconnect_after_the_end_means_the_end() -> None:
    """Nobody left: the answer was complete."""
    scope = request_to()
    async with drive(Upstream(Provider(b"one")), scope, held=True) as client:
        for number in range(2):
            await client.message(number)
            client.step()
        await client.message(2)
        client.disconnect()
        client.release()
        await client.completed()
    assert not Exchange.of(scope).client_left


async def test_a_cancellation_beside_a_disconnect_stays_a_cancellation() -> None:
    """Whoever cancels the task waits for its cancellation, whatever else happened in that moment."""
    provider, scope = Provider(b"one", asyncio.Event()), request_to()
    async with drive(Upstream(provider), scope) as client:
        await client.message(1)
        client.disconnect()
        client.cancel()
        assert isinstance(await client.failed(), asyncio.CancelledError)
        await provider.closed()
    assert Exchange.of(scope).client_left


async def test_two_requests_at_once_do_not_touch_each_other() -> None:
    """One client leaves; the other gets its answer."""
    gate = asyncio.Event()

    class Both(Provider):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=Stream([request.url.raw_path, gate, b" done"]))

    upstream = Upstream(Both())
    async with drive(upstream, request_to("/a")) as first, drive(upstream, request_to("/b")) as second:
        await first.message(1)
        await second.message(1)
        first.disconnect()
        assert isinstance(await first.failed(), ClientLeft)
        gate.set()
        await second.completed()
    assert (first.body, second.body, second.complete) == (b"/a", b"/b done", True)


async def test_drain_reads_on_for_a_client_that_left() -> None:
    """The final usage is learned, and the exchange knows that nobody saw it."""
    gate = asyncio.Event()
    provider, scope = Provider(b"one", gate, b"two"), request_to()
    async with drive(Upstream(provider, on_client_left="drain"), scope) as client:
        await client.message(1)
        client.disconnect()
        gate.set()
        await client.completed()
    assert (client.chunks, client.complete) == ([b"one", b"two"], True)
    assert Exchange.of(scope).client_left


async def test_drain_has_its_time(clock: Clock) -> None:
    """Then the provider is closed as if there were no drain."""
    provider = Provider(b"one", asyncio.Event())
    async with drive(Upstream(provider, on_client_left="drain", drain_s=30), request_to()) as client:
        await client.message(1)
        client.disconnect()
        await client.receiving(2)
        await clock.advance(0)
        await clock.advance(31)
        assert isinstance(await client.failed(), ClientLeft)
        await provider.closed()


# -- time ---------------------------------------------------------------------------------------------------------


def timed_out(failure: BaseException, which: str, limit: str) -> None:
    assert isinstance(failure, UpstreamTimeout)
    assert (failure.which, failure.status) == (which, 504)
    assert failure.message == f"upstream timed out: {which} took longer than {limit} s"


async def test_the_first_byte_has_its_time(clock: Clock) -> None:
    """A provider that thinks longer is given up, and the client told which limit it was."""
    provider = Provider(thinks=asyncio.Event())
    async with drive(Upstream(provider, timeouts=TIMEOUTS), request_to()) as client:
        await provider.asked.wait()
        await clock.advance(301)
        timed_out(await client.failed(), "first byte", "300")
    assert provider.given_up
    assert not client.messages


async def test_thinking_is_not_idling(clock: Clock) -> None:
    """The time between chunks begins to count with the answer."""
    provider = Provider(b"one", thinks=asyncio.Event())
    assert provider.thinks is not None
    async with drive(Upstream(provider, timeouts=TIMEOUTS), request_to()) as client:
        await provider.asked.wait()
        await clock.advance(299)
        provider.thinks.set()
        await client.completed()
    assert client.complete


async def test_a_provider_that_falls_silent_is_given_up(clock: Clock) -> None:
    """In mid-answer that is a cut for the client."""
    provider = Provider(b"one", asyncio.Event())
    async with drive(Upstream(provider, timeouts=TIMEOUTS), request_to()) as client:
        await client.message(1)
        await clock.advance(61)
        timed_out(await client.failed(), "idle", "60")
        await provider.closed()
    assert (client.body, client.complete) == (b"one", False)


async def test_each_chunk_starts_the_idle_time_anew(clock: Clock) -> None:
    """A long answer that keeps coming isn't idle."""
    gates = [asyncio.Event() for _ in range(4)]
    steps = [step for number, gate in enumerate(gates) for step in (b"%d" % number, gate)]
    provider = Provider(*steps)
    async with drive(Upstream(provider, timeouts=TIMEOUTS), request_to()) as client:
        for number, gate in enumerate(gates):
            await client.message(1 + number)
            await clock.advance(59)
            gate.set()
        await client.completed()
    assert client.complete


async def test_a_slow_client_is_not_a_silent_provider(clock: Clock) -> None:
    """While a chunk is on its way down, the provider's clock stands."""
    provider = Provider(b"one", b"two")
    async with drive(Upstream(provider, timeouts=TIMEOUTS), request_to(), held=True) as client:
        for number in range(4):
            await client.message(number)
            if number in (1, 2):
                await clock.advance(61)
            client.step()
        client.release()
        await client.completed()
    assert client.complete


async def test_the_whole_answer_has_its_time(clock: Clock) -> None:
    """However steadily it comes."""
    gates = [asyncio.Event() for _ in range(30)]
    steps = [step for gate in gates for step in (b"x", gate)]
    provider = Provider(*steps)
    async with drive(Upstream(provider, timeouts=TIMEOUTS), request_to()) as client:
        for number in range(20):
            await client.message(1 + number)
            gates[number].set()
            await clock.advance(50)
        timed_out(await client.failed(), "the whole answer", "1000")
    assert not client.complete


async def test_nothing_of_a_request_stays_behind() -> None:
    """No timer and no watcher of it runs on."""
    before = asyncio.all_tasks()
    scope = request_to()
    await call(Upstream(Provider(b"one"), timeouts=TIMEOUTS), scope)
    left = asyncio.Event()
    asyncio.get_running_loop().call_soon(asyncio.get_running_loop().call_soon, left.set)
    await left.wait()
    assert asyncio.all_tasks() == before
    assert not Exchange.of(scope).client_left


# -- options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["connect_s", "first_byte_s", "idle_s", "total_s"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_timeout_must_be_positive(name: str, value: float) -> None:
    """The message says which, and what it was."""
    with pytest.raises(ValueError, match=f"{name} must be positive: {value}"):
        Timeouts(**{name: value})


def test_there_are_two_ways_to_take_a_leave() -> None:
    """Another one is named in the message."""
    with pytest.raises(ValueError, match="on_client_left must be close or drain: 'wait'"):
        Upstream(Provider(), on_client_left="wait")  # type: ignore[arg-type]


async def test_it_speaks_http_only() -> None:
    """It is the end of the pipeline: there is no app to pass other scope types to."""
    async with drive(Upstream(Provider()), {"type": "websocket"}) as client:
        assert isinstance(await client.failed(), RuntimeError)


async def test_a_transport_must_stream() -> None:
    """A synchronous one is a mistake of the program, and said to be one."""

    class Synchronous(Provider):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=httpx.SyncByteStream())

    async with drive(Upstream(Synchronous()), request_to()) as client:
        failure = await client.failed()
    assert isinstance(failure, TypeError)
    assert "not an async stream" in str(failure)
