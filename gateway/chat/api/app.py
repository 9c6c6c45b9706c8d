"""The chat service as an ASGI application.

How it stands in the stack, reads requests and words mistakes is `gateway.api.resources`'s, as for the management API.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.api.resources import serve
from gateway.chat.api.handlers import Desk
from gateway.chat.api.operations import CHAT
from middleware.exchange import Identity

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.chat.service import ChatService

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
"""Room for the longest message and instructions with each character escaped."""


def chat_api(service: ChatService, *, pause: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> ASGIApp:
    """The application; whoever makes the service also closes it. `pause` is between a stream's signs of life."""

    def desk(caller: Identity) -> Desk:
        return Desk(caller, service, pause)

    return serve(CHAT, desk, max_body_bytes=MAX_BODY_BYTES)
