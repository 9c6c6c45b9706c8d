"""Records what a request asked and what came back, while the bytes pass.

Place: innermost on the client side, right around provider dispatch, where the request is clean and known and every
byte of the answer still passes. Needs the caller, the credential's kind, the route, the body's facts and the identity
headers; sets `interception_id`, and adds to `bonds` what only the account that answered can read again.

The start is recorded before anything goes upstream: when it can't be, the request is refused (503) and nothing was
sent. Each fact is recorded before the chunk that completed it goes to the client, and the end before the last byte
does. Exactly one end follows each start, whatever happened. All of it is synchronous, so nothing is lost when the
request is cancelled. In two places it waits until the sink has made sure of what it took: before anything goes
upstream, where a failure refuses the request, and before the last byte, where the answer goes on all the same.

It changes two things, both documented: recorded answers are asked for uncompressed (`accept-encoding: identity`), and
a Chat completions stream whose client didn't ask for usage is asked for it, with the extra chunk kept from the client.
A reader that can't follow the answer costs a flag on the record, never the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from middleware.errors import (
    ClientLeft,
    GatewayError,
    KeysExhausted,
    RecordingFailed,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from middleware.exchange import CHUNKS, Exchange, Identity, header, new_id, with_headers
from providers.base import (
    AccountBound,
    Api,
    Fact,
    Headers,
    Provider,
    ProviderFailure,
    Reader,
    RequestFacts,
    StreamFilter,
    Thought,
    ToolCall,
    Usage,
    apply_edits,
)
from providers.clients import client_of, session_of
from providers.content_coding import decoding
from recorders.records import (
    InterceptionEnd,
    InterceptionStart,
    ModelThought,
    Outcome,
    PromptUsage,
    Record,
    TokenUsage,
    ToolUsage,
)
from recorders.sink import RecordingUnavailable, Sink

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("ai_gateway.interception")

MAX_ERROR_CHARS = 1000


def utc_now() -> datetime:
    return datetime.now(UTC)


class InterceptionMiddleware:
    """`request_stream_usage` allows the edit that asks a Chat completions stream for its usage."""

    requires: ClassVar[frozenset[str]] = frozenset(
        {"caller", "credential_kind", "provider", "route", "body", "facts", "identity_headers"}
    )
    provides: ClassVar[frozenset[str]] = frozenset({"interception_id"})

    def __init__(
        self,
        app: ASGIApp,
        *,
        sink: Sink,
        new_id: Callable[[], str] = new_id,
        now: Callable[[], datetime] = utc_now,
        request_stream_usage: bool = True,
    ) -> None:
        self.app = app
        self.sink = sink
        self.new_id = new_id
        self.now = now
        self.request_stream_usage = request_stream_usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        api = exchange.route.api if exchange.route else None
        if api is None or exchange.facts is None or exchange.caller is None or exchange.provider is None:
            await self.app(scope, receive, send)
            return
        interception = _Interception(self, exchange, api, exchange.facts, send)
        interception.start(scope, exchange.caller, exchange.provider)
        inward, receive = self._ask_for_readable(scope, exchange.facts, receive, interception)
        try:
            await interception.settle_start()
            await self.app(inward, receive, interception.send)
        except BaseException as error:
            interception.failed(error)
            raise
        finally:
            interception.end()

    def _ask_for_readable(
        self, scope: Scope, facts: RequestFacts, receive: Receive, interception: _Interception
    ) -> tuple[Scope, Receive]:
        headers: Headers = [one for one in scope["headers"] if one[0].lower() != b"accept-encoding"]
        headers.append((b"accept-encoding", b"identity"))
        if facts.usage_edit is not None and self.request_stream_usage:
            receive = _edited(receive, facts)
            interception.hide_usage_chunk()
        return with_headers(scope, headers), receive


def _edited(receive: Receive, facts: RequestFacts) -> Receive:
    """A `receive` whose body, which comes whole, carries the edit that asks for usage."""

    async def receive_edited() -> Message:
        message = await receive()
        if message["type"] == "http.request" and message.get("body") and facts.usage_edit is not None:
            message = {**message, "body": apply_edits(message["body"], [facts.usage_edit])}
        return message

    return receive_edited


class _Interception:
    """One recorded request: its reader, its open facts, its one end."""

    def __init__(
        self, layer: InterceptionMiddleware, exchange: Exchange, api: Api, facts: RequestFacts, send: Send
    ) -> None:
        self._emit, self._settle = layer.sink.emit, layer.sink.settle
        self._new_id, self._now = layer.new_id, layer.now
        self._exchange, self._api, self._facts, self._send = exchange, api, facts, send
        self.id = exchange.interception_id = layer.new_id()
        self._hint = ""
        self._status: int | None = None
        self._reader: Reader | None = None
        self._filter: StreamFilter | None = None
        self._hide_usage = False
        self._bytes_left: int | None = None
        self._prompt_told = facts.prompt is None
        self._answer_id_told = False
        self._failure: ProviderFailure | None = None
        self._error: BaseException | None = None
        self._answered = False
        self._ended = False

    # -- the request ------------------------------------------------------------------------------------------------

    def start(self, scope: Scope, caller: Identity, provider: Provider) -> None:
        headers = dict(reversed([*self._exchange.identity_headers, *scope["headers"]]))
        client = self._exchange.client = client_of(headers)
        kind = self._exchange.credential_kind or "centralized"
        credential = (
            provider.user_credential(scope["headers"]) if kind == "byok" else provider.central_credential()
        )
        self._hint = credential.hint if credential else ""
        record = InterceptionStart(
            interception_id=self.id,
            initiator_id=caller.user_id,
            api_key_id=caller.api_key_id,
            provider=provider.type.name,
            provider_name=provider.name,
            model=self._facts.model,
            client=client,
            client_session_id=session_of(client, headers, self._facts.session_id),
            started_at=self._now(),
            metadata={
                "username": caller.username,
                "request_user_agent": header(scope, b"user-agent") or "",
                "api": self._api.name,
                "request_id": self._exchange.request_id,
            },
            correlating_tool_call_id=self._facts.correlating_tool_call_id,
            credential_kind=kind,
            credential_hint=self._hint,
        )
        try:
            self._emit(record)
        except RecordingUnavailable as error:
            raise RecordingFailed from error

    async def settle_start(self) -> None:
        try:
            await self._settle()
        except RecordingUnavailable as error:
            raise RecordingFailed from error

    def hide_usage_chunk(self) -> None:
        self._hide_usage = True

    # -- the answer -------------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            ended = self._ended
            message = self._observe(message)
            if self._ended and not ended:
                with contextlib.suppress(RecordingUnavailable):
                    await self._settle()
            if not message.get("body") and message.get("more_body", False):
                return  # the filter kept all of it
        elif message["type"] == "http.response.start":
            message = self._begin(message)
        try:
            await self._send(message)
        except OSError:  # how a server says that the client has gone (ASGI HTTP, "Disconnected Client")
            self._exchange.client_left = True
            raise

    def _begin(self, message: Message) -> Message:
        headers = {name.lower(): value.decode("latin-1") for name, value in message["headers"]}
        status = self._status = message["status"]
        streamed = headers.get(b"content-type", "").lower().startswith("text/event-stream")
        coding = headers.get(b"content-encoding", "")
        self._reader = decoding(self._api.reader(streamed=streamed and status < 400), coding)
        length = headers.get(b"content-length", "")
        if streamed and self._hide_usage and coding in ("", "identity"):
            self._filter = self._api.usage_filter()
            message = {
                **message,
                "headers": [(n, v) for n, v in message["headers"] if n.lower() != b"content-length"],
            }
        elif length.isdecimal():
            self._bytes_left = int(length)
        return message

    def _observe(self, message: Message) -> Message:
        body: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        self._tell(self._read(body))
        if self._bytes_left is not None:
            self._bytes_left -= len(body)
        self._answered = not more
        if self._whole:
            # With these bytes the client has the whole answer, so what is left is recorded before they leave.
            self.end()
        return message if self._filter is None else _filtered(self._filter, message)

    @property
    def _whole(self) -> bool:
        """Whether the answer is all there: by its end, by its length, or by the event after which clients hang up."""
        told = self._reader is not None and self._reader.complete
        return self._answered or self._bytes_left == 0 or told

    def _read(self, data: bytes) -> Sequence[Fact]:
        if self._reader is None or not data:
            return ()
        try:
            return self._reader.feed(data)
        except Exception:
            self._give_up_reading()
            return ()

    def _close_reader(self) -> Sequence[Fact]:
        if self._reader is None:
            return ()
        try:
            return self._reader.close()
        except Exception:
            self._give_up_reading()
            return ()

    def _give_up_reading(self) -> None:
        log.exception("a reader failed; the answer passes unread", extra={"interception_id": self.id})
        if self._reader is not None:
            self._reader = _Unreadable(self._reader.msg_id)

    # -- records ----------------------------------------------------------------------------------------------------

    def _tell(self, facts: Sequence[Fact]) -> None:
        if self._reader is not None and self._reader.msg_id:
            self._tell_answer_id(self._reader.msg_id)
        for fact in facts:
            if isinstance(fact, ProviderFailure):
                self._failure = self._failure or fact
            elif isinstance(fact, AccountBound):
                self._exchange.bonds.append(fact.bond)
            else:
                self._emit(self._record(fact))

    def _tell_answer_id(self, msg_id: str) -> None:
        if not self._answer_id_told:
            self._answer_id_told = True
            self._exchange.bonds.append(msg_id)
        if not self._prompt_told:
            self._tell_prompt()

    def _tell_prompt(self) -> None:
        self._prompt_told = True
        self._emit(
            PromptUsage(
                id=self._new_id(),
                interception_id=self.id,
                msg_id=self._reader.msg_id if self._reader else "",
                prompt=self._facts.prompt or "",
                created_at=self._now(),
                metadata={},
            )
        )

    def _record(self, fact: Usage | ToolCall | Thought) -> Record:
        own_id, now = self._new_id(), self._now()
        match fact:
            case Usage():
                return TokenUsage(
                    id=own_id,
                    interception_id=self.id,
                    msg_id=fact.msg_id,
                    input_tokens=fact.input_tokens,
                    output_tokens=fact.output_tokens,
                    cache_read_input_tokens=fact.cache_read_input_tokens,
                    cache_write_input_tokens=fact.cache_write_input_tokens,
                    created_at=now,
                    metadata=dict(fact.extra),
                )
            case ToolCall():
                return ToolUsage(
                    id=own_id,
                    interception_id=self.id,
                    msg_id=fact.msg_id,
                    tool_call_id=fact.tool_call_id,
                    tool=fact.tool,
                    input=fact.input,
                    server_url=fact.server_url,
                    injected=False,
                    invocation_error=fact.invocation_error,
                    created_at=now,
                    metadata=dict(fact.metadata),
                )
            case Thought():
                return ModelThought(
                    id=own_id,
                    interception_id=self.id,
                    content=fact.content,
                    created_at=now,
                    metadata={"source": fact.source},
                )

    # -- the end ----------------------------------------------------------------------------------------------------

    def failed(self, error: BaseException) -> None:
        self._error = error

    def end(self) -> None:
        """Close the reader, tell what is left, and record the end; a second call does nothing."""
        if self._ended:
            return
        self._ended = True
        self._tell(self._close_reader())
        if not self._prompt_told:
            self._tell_prompt()
        outcome, error_type, error_message = self._outcome()
        self._exchange.outcome = outcome
        self._emit(
            InterceptionEnd(
                interception_id=self.id,
                ended_at=self._now(),
                outcome=outcome,
                status=self._status if self._status is not None else getattr(self._error, "status", None),
                error_type=self._safe(error_type),
                error_message=self._safe(error_message),
                credential_hint=self._exchange.credential.hint if self._exchange.credential else self._hint,
            )
        )

    def _outcome(self) -> tuple[Outcome, str | None, str | None]:
        error = self._error
        if self._exchange.client_left or isinstance(error, ClientLeft | asyncio.CancelledError):
            return "client_left", None, None
        if isinstance(error, UpstreamUnreachable | UpstreamTimeout | KeysExhausted):
            return "upstream_failed", type(error).__name__, error.message
        if isinstance(error, GatewayError):
            return "refused", type(error).__name__, error.message
        if error is not None:
            return "upstream_failed", type(error).__name__, "the answer broke off"
        if self._failure is not None:
            return "upstream_failed", self._failure.type, self._failure.message
        if self._status is not None and self._status >= 400:
            return "upstream_failed", "http_error", None
        if self._status is None or not self._whole:
            return "upstream_failed", "incomplete", "the answer ended before it was complete"
        flaws = self._reader.flaws if self._reader else []
        return "completed", "unreadable" if flaws else None, "; ".join(flaws) or None

    def _safe(self, message: str | None) -> str | None:
        """A provider's words, bounded, without the credential that some of them echo."""
        if not message:
            return None
        credential = self._exchange.credential
        if credential is not None:
            message = message.replace(credential.secret.reveal_secret_value(), credential.hint)
        return message[:MAX_ERROR_CHARS]


def _filtered(kept_by: StreamFilter, message: Message) -> Message:
    """The message without what the filter hides; of several chunks each is filtered by itself."""
    more = message.get("more_body", False)
    if CHUNKS not in message:
        kept = kept_by.feed(message.get("body", b""))
        return {**message, "body": kept if more else kept + kept_by.close()}
    chunks = [kept for chunk in message[CHUNKS] if (kept := kept_by.feed(chunk))]
    if not more and (rest := kept_by.close()):
        chunks.append(rest)
    return {**message, "body": b"".join(chunks), CHUNKS: chunks}


class _Unreadable:
    """Stands in for a reader that failed: reads nothing, and says that it did."""

    def __init__(self, msg_id: str) -> None:
        self.msg_id = msg_id
        self.complete = False
        self.flaws = ["the reader failed"]

    def feed(self, data: bytes) -> Sequence[Fact]:
        return ()

    def close(self) -> Sequence[Fact]:
        return ()
