"""What a handler works with: who is calling, and where it looks."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.accounts import Accounts, UnknownUser
from gateway.provider_keys import ProviderKeys
from middleware.exchange import Identity
from recorders.stores.database import Database

SEES_ALL = frozenset({"auditor", "admin"})


@dataclass(frozen=True, slots=True)
class Desk:
    caller: Identity
    database: Database
    accounts: Accounts
    provider_keys: ProviderKeys
    allow_byok: bool

    @property
    def scope(self) -> str | None:
        """The one user whose records the caller may see; None is all."""
        return None if self.caller.role in SEES_ALL else self.caller.user_id

    async def initiator(self, given: str | None) -> str | None:
        """The ID of the user that is asked about; None is all.

        Raises `Hidden` when a member asks about somebody else, whether there is such a user or not.
        """
        if given is None:
            return self.scope
        if given in ("me", self.caller.user_id) or given.lower() == self.caller.username.lower():
            return self.caller.user_id
        if self.scope is not None:
            raise Hidden
        try:
            return (await self.accounts.get_user(given)).id
        except UnknownUser:
            return given


class Hidden(Exception):
    """Nothing of it is the caller's to see."""
