"""Asks a chat service's routes as ADA, as BOB or as nobody, and reads what comes back.

Behind the layers that the gateway has before them, with an authenticator of the test's own: a token is a name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.types import ASGIApp

from gateway.chat.api import chat_api
from gateway.chat.service import ChatService
from middleware.auth import AuthMiddleware
from middleware.errors import ErrorsMiddleware, Unauthorized
from middleware.exchange import Identity
from middleware.telemetry import TelemetryMiddleware
from providers.secret import Secret
from tests.asgi import Drive, call, drive, http_scope
from tests.gateway.chat.stage import ADA, BOB
from tests.waiting import Changes


class Names:
    """An authenticator whose tokens are the names of its users."""

    async def authenticate(self, token: Secret) -> Identity:
        for one in (ADA, BOB):
            if token.reveal_secret_value() == one.username:
                return one
        raise Unauthorized("no such name")

    async def identify(self, api_key_id: str) -> Identity:
        for one in (ADA, BOB):
            if api_key_id == one.api_key_id:
                return one
        raise Unauthorized("no such key")


class Pauses:
    """What the stream waits on between signs of life: it goes on when the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._changes = Changes()
        self._passed = 0

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        mine = len(self.asked)
        self._changes.notify()
        await self._changes.until(lambda: self._passed >= mine, f"the end of pause {mine}")

    def pass_one(self) -> None:
        self._passed += 1
        self._changes.notify()


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream, as a client sees it."""

    kind: str
    data: Any
    id: str | None = None

    @staticmethod
    def read(piece: bytes) -> Event:
        """Of a whole event, by the rules of the standard: lines end with CR or LF alone."""
        assert piece.endswith(b"\n\n"), piece
        assert b"\r" not in piece
        fields = dict(line.split(": ", 1) for line in piece.decode()[:-2].split("\n"))
        return Event(fields["event"], msgspec.json.decode(fields["data"]), fields.get("id"))


class Listener:
    """A stream under way."""

    def __init__(self, drive: Drive) -> None:
        self.drive = drive
        self._next = 1  # behind the start

    async def piece(self) -> bytes:
        """The next body of the answer, as soon as it leaves."""
        message = await self.drive.message(self._next)
        self._next += 1
        body: bytes = message["body"]
        return body

    async def event(self) -> Event:
        return Event.read(await self.piece())

    async def until(self, kind: str) -> list[Event]:
        """All up to the next of that kind."""
        seen = [await self.event()]
        while seen[-1].kind != kind:
            seen.append(await self.event())
        return seen


class Client:
    def __init__(self, service: ChatService) -> None:
        self.pauses = Pauses()
        api = chat_api(service, pause=self.pauses)
        auth = AuthMiddleware(api, authenticator=Names())
        self.app: ASGIApp = ErrorsMiddleware(TelemetryMiddleware(auth))

    async def ask(
        self, method: str, target: str, body: Any = None, *, by: str | None = "ada", raw: bytes | None = None
    ) -> Drive:
        given = raw if raw is not None else b"" if body is None else msgspec.json.encode(body)
        return await call(self.app, self._scope(method, target, by), given)

    async def told(self, method: str, target: str, body: Any = None, *, by: str = "ada") -> Any:
        """The answer, which must be a good one."""
        answer = await self.ask(method, target, body, by=by)
        assert answer.status < 300, answer.body
        return msgspec.json.decode(answer.body)

    async def refused(
        self, method: str, target: str, body: Any = None, *, by: str = "ada", **given: Any
    ) -> tuple[int, str]:
        """Status and message of an error."""
        answer = await self.ask(method, target, body, by=by, **given)
        assert answer.status >= 400, answer.body
        return answer.status, msgspec.json.decode(answer.body)["message"]

    def stream(
        self, chat_id: str, *, query: str = "", by: str = "ada", last: str | None = None, held: bool = False
    ) -> AbstractAsyncContextManager[Listener]:
        more = [] if last is None else [("last-event-id", last)]
        scope = self._scope("GET", f"/chats/{chat_id}/stream{query}", by, more)

        @asynccontextmanager
        async def listening() -> AsyncIterator[Listener]:
            async with drive(self.app, scope, held=held) as under_way:
                yield Listener(under_way)

        return listening()

    @staticmethod
    def _scope(method: str, target: str, by: str | None, more: list[tuple[str, str]] | None = None) -> Any:
        headers = [("authorization", f"Bearer {by}")] if by else []
        return http_scope(method, "/api/v2/ai-gateway" + target, headers=[*headers, *(more or [])])
