"""How a turn that went wrong is told in its chat: one sentence, safe to show, that says how to go on."""

from __future__ import annotations

import logging
from typing import Final

from gateway.chat.content import ModelError
from gateway.chat.routing import RoutingError
from gateway.chat.store import UnknownChat
from recorders.stores.base import StoreError

log = logging.getLogger("ai_gateway.chat")

INTERRUPTED: Final = "the turn was interrupted by a shutdown; send a message to go on"
ABANDONED: Final = "the process that ran the turn ended or lost the database; send a message to go on"
LEFT: Final = "the turn was interrupted, but a tool of it did not stop; send a message to go on"
UNREACHABLE: Final = "the database could not be reached; send the message again"
DELETED: Final = "the chat was deleted"
BROKEN: Final = "the turn failed for a reason of our own, which the log has"


class TooManySteps(Exception):
    def __init__(self, steps: int) -> None:
        super().__init__(f"the turn did not end after {steps} calls of the model; send a message to go on")


def told(chat_id: str, error: BaseException) -> str:
    """What the person reads; what only an operator should is logged."""
    match error:
        case ModelError() if error.status in (401, 403):
            return (
                f"{error} (HTTP {error.status}: the provider's credential or the turn's key is not accepted)"
            )
        case RoutingError() | ModelError() | TooManySteps():
            return str(error)
        case UnknownChat():
            return DELETED
        case StoreError():
            log.warning("a turn of the chat %s failed: %s", chat_id, error)
            return UNREACHABLE
        case _:
            log.error("a turn of the chat %s failed", chat_id, exc_info=error)
            return BROKEN
