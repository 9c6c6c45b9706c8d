"""The management API as an ASGI application.

`is_management` tells by the path which of management and data plane a request is for, at the cost of a look-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from gateway.accounts import Accounts
from gateway.api.desk import Desk
from gateway.api.operations import MANAGEMENT, SEGMENTS
from gateway.api.resources import serve
from middleware.exchange import Identity
from providers.registry import below_prefix

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.provider_keys import ProviderKeys
    from recorders.stores.database import Database

MAX_BODY_BYTES: Final = 64 * 1024
"""A management request is small, or wrong."""


def is_management(scope: Mapping[str, Any]) -> bool:
    return below_prefix(scope)[1:].partition("/")[0] in SEGMENTS


def management_api(database: Database, *, provider_keys: ProviderKeys, allow_byok: bool) -> ASGIApp:
    """The application on an open database. It wants a `caller` on the exchange."""
    accounts = Accounts(database)

    def desk(caller: Identity) -> Desk:
        return Desk(caller, database, accounts, provider_keys, allow_byok)

    return serve(MANAGEMENT, desk, max_body_bytes=MAX_BODY_BYTES)
