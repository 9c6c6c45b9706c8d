"""The chat service's mistakes in the tree of `middleware.errors`; their texts are meant to be shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.api.errors import Conflict, NotFound
from gateway.chat.errors import ChatError
from gateway.chat.routing import RoutingError
from gateway.chat.store import UnknownChat
from middleware.errors import BadRequest, GatewayError, Unavailable

RETRY_AFTER_S: Final = 5


@contextmanager
def told() -> Iterator[None]:
    """Another's chat is as unknown as one that never was."""
    try:
        yield
    except UnknownChat as error:
        raise NotFound(str(error)) from error
    except RoutingError as error:
        raise Conflict(str(error)) from error
    except ChatError as error:
        raise _error_of(error) from error


def _error_of(error: ChatError) -> GatewayError:
    match error.status:
        case 409:
            return Conflict(str(error))
        case 503:
            return Unavailable(str(error), retry_after_s=RETRY_AFTER_S)
        case _:
            return BadRequest(str(error))
