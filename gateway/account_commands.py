"""`ai-gateway users ...` and `ai-gateway keys ...`: the command line of `gateway.accounts`.

Standard output carries results only, so that it can be piped: a new key's token stands there alone, and nowhere else
ever again. Everything said to the person goes to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gateway.accounts import ROLES, AccountError, Accounts, ApiKey, utc_now
from gateway.durations import parse_duration
from gateway.settings import Settings
from recorders.stores.base import StoreError
from recorders.stores.database import Database
from recorders.stores.urls import database_for

if TYPE_CHECKING:
    _SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(subparsers: _SubParsers, *, flags: argparse.ArgumentParser | None = None) -> None:
    """Add `users` and `keys`; what they parse goes to `run`. Each command also takes the flags of `flags`."""
    parents = [flags] if flags is not None else []
    users = subparsers.add_parser("users", help="who may call").add_subparsers(
        required=True, metavar="COMMAND"
    )
    create = users.add_parser("create", help="add a user", parents=parents)
    create.add_argument("name", metavar="NAME")
    create.add_argument("--role", choices=ROLES, default="member", help="default: member")
    create.set_defaults(account_command=_create_user)
    users.add_parser("list", help="all users", parents=parents).set_defaults(account_command=_list_users)
    for name, help_text, command in (
        ("suspend", "refuse the user's keys until activated", _suspend_user),
        ("activate", "accept the user's keys again", _activate_user),
        ("delete", "refuse the user's keys for ever and free the name", _delete_user),
    ):
        parser = users.add_parser(name, help=help_text, parents=parents)
        parser.add_argument("name", metavar="NAME")
        parser.set_defaults(account_command=command)
    _add_key_commands(subparsers, parents)


def _add_key_commands(subparsers: _SubParsers, parents: list[argparse.ArgumentParser]) -> None:
    keys = subparsers.add_parser("keys", help="what they call with").add_subparsers(
        required=True, metavar="COMMAND"
    )
    create = keys.add_parser("create", help="make a key; prints its token, once", parents=parents)
    create.add_argument("--user", required=True, metavar="NAME")
    create.add_argument("--lifetime", type=_lifetime, metavar="90d", help="default: for ever")
    create.set_defaults(account_command=_create_key)
    listing = keys.add_parser("list", help="all keys, without their secrets", parents=parents)
    listing.add_argument("--user", metavar="NAME", help="only those of one user")
    listing.set_defaults(account_command=_list_keys)
    revoke = keys.add_parser("revoke", help="end a key, for good", parents=parents)
    revoke.add_argument("id", metavar="ID", help="the part of the token before the dash")
    revoke.set_defaults(account_command=_revoke_key)
    delete = keys.add_parser(
        "delete",
        help="end a key and forget it",
        description="Delete a key: it ends like a revoked one, and is not listed any more. Recorded calls still say "
        "its ID; chats stay, but what was said with it has no key, so a turn that depends on it is refused. "
        "To end a key, revoke it.",
        parents=parents,
    )
    delete.add_argument("id", metavar="ID", help="the part of the token before the dash")
    delete.set_defaults(account_command=_delete_key)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what was parsed, on the configured database. The exit status: 0, or 1 after one sentence on why not."""
    try:
        database = database_for(settings.gateway.database_url.reveal_secret_value())
    except ValueError as error:
        return _fail(error)
    try:
        asyncio.run(_run(args, database))
    except (AccountError, StoreError) as error:
        return _fail(error)
    return 0


async def _run(args: argparse.Namespace, database: Database) -> None:
    try:
        await database.open()
        await args.account_command(Accounts(database), args)
    finally:
        await database.close()


async def _create_user(accounts: Accounts, args: argparse.Namespace) -> None:
    user = await accounts.create_user(args.name, args.role)
    _say(f"Created {user.name}, {user.role}. A key: ai-gateway keys create --user {user.name}")


async def _list_users(accounts: Accounts, args: argparse.Namespace) -> None:
    users = await accounts.list_users()
    rows = [(user.name, user.role, user.status, _day(user.created_at)) for user in users]
    print_table(("NAME", "ROLE", "STATUS", "CREATED"), rows)


async def _suspend_user(accounts: Accounts, args: argparse.Namespace) -> None:
    _say(f"Suspended {(await accounts.suspend_user(args.name)).name}.")


async def _activate_user(accounts: Accounts, args: argparse.Namespace) -> None:
    _say(f"Activated {(await accounts.activate_user(args.name)).name}.")


async def _delete_user(accounts: Accounts, args: argparse.Namespace) -> None:
    _say(f"Deleted {(await accounts.delete_user(args.name)).name}.")


async def _create_key(accounts: Accounts, args: argparse.Namespace) -> None:
    new = await accounts.create_key(args.user, args.lifetime)
    until = f"until {_minute(new.key.expires_at)}" if new.key.expires_at else "until it is revoked"
    _say(f"Key {new.key.id} of {new.key.username}, good {until}. Its token is not shown again:")
    _print(new.token.reveal_secret_value())


async def _list_keys(accounts: Accounts, args: argparse.Namespace) -> None:
    now = utc_now()
    rows = [
        (key.id, key.username, _state(key, now), _day(key.created_at), _minute_or_never(key.expires_at))
        for key in await accounts.list_keys(args.user)
    ]
    print_table(("ID", "USER", "STATE", "CREATED", "EXPIRES"), rows)


async def _revoke_key(accounts: Accounts, args: argparse.Namespace) -> None:
    key = await accounts.revoke_key(args.id)
    _say(f"Revoked key {key.id} of {key.username}.")


async def _delete_key(accounts: Accounts, args: argparse.Namespace) -> None:
    key = await accounts.delete_key(args.id)
    _say(f"Deleted key {key.id} of {key.username}.")


def _lifetime(text: str) -> timedelta:
    try:
        return timedelta(seconds=parse_duration(text))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError("write it as 90d, 12h or 1d12h") from None


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if not key.is_alive(now):
        return "expired"
    return "good" if key.user_status == "active" else f"user {key.user_status}"


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"


def _minute(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _minute_or_never(time: datetime | None) -> str:
    return "never" if time is None else _minute(time)


def print_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """On standard output, in columns."""
    lines = [heading, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        _print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _fail(error: Exception) -> int:
    _say(f"ai-gateway: {error}")
    return 1
