"""What the parts of the chat service work with; the service makes one for all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.chat.content import Speaker
from gateway.chat.entries import Chat
from gateway.chat.hub import Hub
from gateway.chat.routing import ChatIdentity, Model, ModelRouting
from gateway.chat.routing.requests import RecordHttp
from gateway.chat.store import ChatStore
from gateway.chat.tools import ToolBox


@dataclass(frozen=True, slots=True)
class Means:
    """`lease_s` is how long a chat stays a runner's that gives no sign of life; `poll_s` is how soon what another
    process does is seen here; `leave_s` is how long a turn that is interrupted may take to end."""

    store: ChatStore
    routing: ModelRouting
    hub: Hub
    tools: ToolBox
    speaker_for: Callable[[Model], Speaker]
    clock: Callable[[], datetime]
    pause: Callable[[float], Awaitable[Any]]
    record_http: RecordHttp | None = None
    max_steps: int = 100
    lease_s: float = 60.0
    poll_s: float = 1.0
    leave_s: float = 5.0


def identity_of(chat: Chat) -> ChatIdentity:
    return ChatIdentity(chat.id, chat.root_id, chat.owner_id)
