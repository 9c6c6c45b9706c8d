"""Speaks to Amazon Bedrock for the clients of an Anthropic instance that lives there.

Place: on the upstream side, inside whatever tries again, because each attempt is signed anew; outside dump, so that
what is dumped is what was sent; inside the circuit breaker too, so that what it refuses is not signed. Needs
`credential`, and `attempt`, which whoever tries again sets, and `circuit`; reads `provider`, `credential_kind` and
`facts`. Puts the access key that signed into `credential`, so that the record can name it. Requests to other providers
pass untouched.

Going up it turns path, body and beta flags into Bedrock's and signs the result, last. A user's own credential is an
Amazon Bedrock API key, a bearer already; with one nothing is signed. Coming down, the event stream becomes server-sent
events as it arrives, and an error gets Anthropic's shape and keeps its status. A stream whose checksums are wrong, or
that ends within a message, breaks off for the client as any broken upstream does.

It keeps no keys: those are the matter of the instance's signer, which refreshes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import unquote

from middleware.errors import BadRequest, Unavailable, UnsupportedCoding, UpstreamBroke
from middleware.exchange import Exchange, header
from middleware.request_body import replay, whole_body
from providers.base import Credential, RequestFacts, Slot
from providers.bedrock.answers import EVENT_STREAM, EventTranslator, bedrock_error
from providers.bedrock.provider import BedrockProvider
from providers.bedrock.request import NoObject
from providers.bedrock.signer import KeysUnavailable, Unsigned

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SIGNATURE: Final = Slot(b"authorization", "AWS4-HMAC-SHA256 ")
REPLACED: Final = frozenset({b"anthropic-beta", b"anthropic-version", b"content-type", b"accept"})
"""The first two Bedrock has in the body; of content it knows JSON, also where the answer is a stream."""
COVERED: Final = frozenset({b"host", b"content-type"})
"""What is signed of the headers, besides those that the signature brings; proxies may change the others."""
ERROR_HEADERS: Final = frozenset({b"content-type", b"content-length", b"content-encoding"})
MAX_ERROR_BYTES: Final = 64 * 1024


class BedrockMiddleware:
    """Has no options: what there is to choose belongs to the instance (`BedrockProvider`)."""

    requires: ClassVar[frozenset[str]] = frozenset({"credential", "attempt", "circuit"})
    provides: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        provider = Exchange.of(scope).provider if scope["type"] == "http" else None
        if not isinstance(provider, BedrockProvider):
            await self.app(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        body = await whole_body(receive, exchange)
        outward, body = _invocation(scope, exchange, provider, body)
        if exchange.credential_kind != "byok":
            outward = await _signed(outward, exchange, provider, body)
        answer, receive = _Answer(send), replay(body, receive)
        del body
        await self.app(outward, receive, answer.send)


# -- going up -------------------------------------------------------------------------------------------------------


def _invocation(
    scope: Scope, exchange: Exchange, provider: BedrockProvider, body: bytes
) -> tuple[Scope, bytes]:
    """The request as Bedrock takes it, not yet signed."""
    if (header(scope, b"content-encoding") or "identity").lower() != "identity":
        raise UnsupportedCoding(
            "a body for Amazon Bedrock must not be compressed: send it without content-encoding"
        )
    facts = exchange.facts or RequestFacts()
    betas = [value for name, value in scope["headers"] if name.lower() == b"anthropic-beta"]
    try:
        asked = provider.models.invocation(body, asked=facts.model, stream=facts.stream, betas=betas)
    except NoObject as error:
        raise BadRequest(str(error)) from error
    raw_path = provider.url.path.rstrip("/") + asked.path
    outward = {
        **scope,
        "path": unquote(raw_path),
        "raw_path": raw_path.encode("ascii"),
        "query_string": b"",
        "headers": [
            *((n, v) for n, v in scope["headers"] if not _is_ours(n.lower(), exchange)),
            (b"content-type", b"application/json"),
            (b"accept", b"application/json"),
        ],
    }
    return outward, asked.body


def _is_ours(name: bytes, exchange: Exchange) -> bool:
    """Whether the gateway alone says this: AWS believes `x-amz-*` only when it is signed."""
    if name == b"authorization":
        return exchange.credential_kind != "byok"
    return name in REPLACED or name.startswith(b"x-amz-")


async def _signed(scope: Scope, exchange: Exchange, provider: BedrockProvider, body: bytes) -> Scope:
    """The request with its signature, made with the keys that this attempt is to use."""
    covered = [(name, value) for name, value in scope["headers"] if name in COVERED]
    host = (header(scope, b"host") or "") + scope["raw_path"].decode("ascii")
    unsigned = Unsigned(scope["method"], f"{scope['scheme']}://{host}", covered, body)
    try:
        signature = await provider.signer.sign(
            unsigned, exchange.credential.secret if exchange.credential else None
        )
    except KeysUnavailable as error:
        raise Unavailable(str(error), retry_after_s=5) from error
    exchange.credential = Credential(SIGNATURE, signature.access_key)
    return {**scope, "headers": [*scope["headers"], *signature.headers]}


# -- coming down ----------------------------------------------------------------------------------------------------


class _Answer:
    """One answer on its way down: what Bedrock says, as Anthropic would say it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._translator: EventTranslator | None = None
        self._error: Message | None = None
        self._error_body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] == "http.response.body" and self._error is not None:
            await self._collect(self._error, message)
        elif message["type"] == "http.response.body" and self._translator is not None:
            await self._translate(self._translator, message)
        else:
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        content_type = b"".join(v for n, v in message["headers"] if n.lower() == b"content-type").lower()
        if message["status"] >= 400:
            self._error = message  # leaves with its body, whose length it tells
        elif content_type.startswith(EVENT_STREAM.encode()):
            self._translator = EventTranslator()
            await self._send(_with_content(message, (b"content-type", b"text/event-stream; charset=utf-8")))
        else:
            await self._send(message)

    async def _translate(self, translator: EventTranslator, message: Message) -> None:
        """Send the events that are whole with this chunk; one that completes none is not sent."""
        more = message.get("more_body", False)
        events = translator.feed(message.get("body", b""))
        if not more:
            translator.close()
        broken = translator.broken
        if events or not (more or broken):
            more_body = more or bool(broken)
            await self._send({"type": "http.response.body", "body": events, "more_body": more_body})
        if broken:
            raise UpstreamBroke(f"the answer of Amazon Bedrock broke off: {broken}")

    async def _collect(self, start: Message, message: Message) -> None:
        room = MAX_ERROR_BYTES - len(self._error_body)
        self._error_body += message.get("body", b"")[: max(room, 0)]
        if message.get("more_body", False):
            return
        body = bedrock_error(start["status"], bytes(self._error_body))
        length = (b"content-length", str(len(body)).encode())
        await self._send(_with_content(start, (b"content-type", b"application/json"), length))
        await self._send({"type": "http.response.body", "body": body})


def _with_content(start: Message, *described: tuple[bytes, bytes]) -> Message:
    """The start of an answer whose content is described anew."""
    headers = [(name, value) for name, value in start["headers"] if name.lower() not in ERROR_HEADERS]
    return {**start, "headers": [*headers, *described]}
