"""`ai-gateway provider-keys ...`: users' own keys for AI providers, on the command line.

A provider's key is read from standard input or, at a terminal, asked for without showing it; never from an argument,
which others on the machine can see. Standard output carries results only: a new encryption key stands there alone.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from gateway.account_commands import print_table
from gateway.accounts import AccountError, Accounts
from gateway.ai_providers import AiProviderRows
from gateway.api.provider_keys import answer_of
from gateway.provider_keys import (
    MAX_KEY_LENGTH,
    BadProviderKey,
    NoEncryptionKey,
    ProviderKeyError,
    ProviderKeys,
    StoredKey,
)
from gateway.sealed_keys import new_encryption_key
from gateway.settings import Settings
from providers.secret import Secret
from recorders.stores.base import StoreError
from recorders.stores.database import Database
from recorders.stores.urls import database_for

if TYPE_CHECKING:
    _SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

Work: TypeAlias = Callable[[Database, ProviderKeys], Awaitable[int]]
"""What is done on the open database; the exit status."""


def add_commands(subparsers: _SubParsers, *, flags: argparse.ArgumentParser | None = None) -> None:
    """Add `provider-keys`; what it parses goes to `run`. Each command also takes the flags of `flags`."""
    parents = [flags] if flags is not None else []
    commands = subparsers.add_parser("provider-keys", help="users' own keys for AI providers").add_subparsers(
        required=True, metavar="COMMAND"
    )

    def add(name: str, command: Callable[..., int], line: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=line, parents=parents, allow_abbrev=False)
        parser.set_defaults(provider_key_command=command)
        return parser

    for name, command, line in (
        ("set", _set, "store a user's own key, read from standard input"),
        ("list", _list, "a user's own keys, masked"),
        ("delete", _delete, "delete a user's own key"),
    ):
        parser = add(name, command, line)
        parser.add_argument("--user", required=True, metavar="NAME")
        if name == "list":
            parser.add_argument("--json", action="store_true", help="as the management API answers")
        else:
            parser.add_argument("--provider", required=True, metavar="NAME", help="name of the instance")
    add("rotate", _rotate, "encrypt all stored keys with the first encryption key")
    add("generate-encryption-key", _generate, "print a new key for user_key_encryption_keys")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what was parsed. The exit status: 0, or 1 after one sentence on why not."""
    command: Callable[[argparse.Namespace, Settings], int] = args.provider_key_command
    try:
        return command(args, settings)
    except (AccountError, ProviderKeyError, StoreError) as error:
        return _fail(error)


def _set(args: argparse.Namespace, settings: Settings) -> int:
    if not settings.gateway.user_key_encryption_keys:
        raise NoEncryptionKey  # before somebody types a key in vain
    key = _read_key()

    async def work(database: Database, keys: ProviderKeys) -> int:
        # For the time before the first `serve`. What is there may come from better settings than those of this shell.
        await AiProviderRows(database).add_missing(settings.gateway.providers)
        user = await Accounts(database).get_user(args.user)
        stored = await keys.set(user.id, args.provider, key)
        _say(f"Stored the key {stored.hint} of {user.name} for {stored.provider}.")
        if not settings.gateway.allow_byok:
            _say("It is not used while allow_byok is off.")
        return 0

    return _on_database(settings, work)


def _list(args: argparse.Namespace, settings: Settings) -> int:
    async def work(database: Database, keys: ProviderKeys) -> int:
        stored = await keys.list((await Accounts(database).get_user(args.user)).id)
        if args.json:
            _print(msgspec.json.format(msgspec.json.encode(answer_of(stored)), indent=2).decode())
        else:
            print_table(("PROVIDER", "KEY", "STATE", "SET"), [_line(one) for one in stored])
        return 0

    return _on_database(settings, work)


def _delete(args: argparse.Namespace, settings: Settings) -> int:
    async def work(database: Database, keys: ProviderKeys) -> int:
        user = await Accounts(database).get_user(args.user)
        stored = await keys.delete(user.id, args.provider)
        _say(f"Deleted the key of {user.name} for {stored.provider}.")
        return 0

    return _on_database(settings, work)


def _rotate(args: argparse.Namespace, settings: Settings) -> int:
    async def work(database: Database, keys: ProviderKeys) -> int:
        done = await keys.rotate()
        _say(f"Encrypted anew: {done.rotated}; already encrypted with the first key: {done.current}.")
        for one in done.unusable:
            _say(f"No encryption key opens the key of {one.username} for {one.provider}.")
        return 1 if done.unusable else 0

    return _on_database(settings, work)


def _generate(args: argparse.Namespace, settings: Settings) -> int:
    _print(new_encryption_key().reveal_secret_value())
    return 0


def _on_database(settings: Settings, work: Work) -> int:
    try:
        database = database_for(settings.gateway.database_url.reveal_secret_value())
        keys = ProviderKeys(database, settings.gateway.user_key_encryption_keys)
    except ValueError as error:
        return _fail(error)

    async def opened() -> int:
        try:
            await database.open()
            return await work(database, keys)
        finally:
            await database.close()

    return asyncio.run(opened())


def _read_key() -> Secret:
    """Bounded: a file may be there by mistake."""
    if sys.stdin.isatty():
        text = getpass.getpass("Key: ")
    else:
        try:
            text = sys.stdin.read(MAX_KEY_LENGTH + 64)
        except UnicodeDecodeError:
            raise BadProviderKey("is no text") from None
    return Secret(text.strip())


def _line(stored: StoredKey) -> Sequence[str]:
    state = "good" if stored.is_usable else "can't be decrypted"
    if stored.is_usable and not stored.provider_enabled:
        state = "provider disabled"
    return stored.provider, stored.hint or "-", state, f"{stored.updated_at:%Y-%m-%d}"


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _fail(error: Exception) -> int:
    _say(f"ai-gateway: {error}")
    return 1
