from __future__ import annotations

import argparse
import asyncio
import getpass
import io
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from gateway.__main__ import main
from gateway.accounts import Accounts
from gateway.ai_providers import AiProviderRows
from gateway.provider_key_commands import add_commands, run
from gateway.provider_keys import ProviderKeys
from gateway.sealed_keys import new_encryption_key
from gateway.settings import GatewayOptions, Settings
from providers.options import ProviderOptions
from providers.secret import Secret
from recorders.stores.database import Database
from recorders.stores.urls import database_for
from tests.gateway.test_account_commands import Outcome

KEY = "sk-fake-key-that-is-the-users-own"
OPENAI = ProviderOptions(type="openai", name="openai")
FIRST, SECOND = new_encryption_key(), new_encryption_key()

_T = TypeVar("_T")


class Terminal:
    """Runs a command line, with what is typed or piped, and shows what it printed."""

    def __init__(
        self, database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.database_url = database_url
        self.capsys = capsys
        self.monkeypatch = monkeypatch
        self.encryption_keys: Sequence[Secret] = (FIRST,)
        self.providers: tuple[ProviderOptions, ...] = (OPENAI,)
        self.allow_byok = True
        self.parser = argparse.ArgumentParser(prog="ai-gateway")
        add_commands(self.parser.add_subparsers(required=True))

    def __call__(self, line: str, *, piped: str = "") -> Outcome:
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(piped))
        return self.run(line)

    def run(self, line: str) -> Outcome:
        options = GatewayOptions(
            database_url=Secret(self.database_url),
            user_key_encryption_keys=tuple(self.encryption_keys),
            providers=self.providers,
            allow_byok=self.allow_byok,
        )
        status = run(self.parser.parse_args(["provider-keys", *line.split()]), Settings(gateway=options))
        return Outcome(status, *self.capsys.readouterr())

    def on_database(self, work: Callable[[Database], Awaitable[_T]]) -> _T:
        async def opened() -> _T:
            database = database_for(self.database_url)
            await database.open()
            try:
                return await work(database)
            finally:
                await database.close()

        return asyncio.run(opened())

    def key_of(self, name: str, provider: str = "openai") -> str | None:
        """What the routing of model calls would send."""

        async def work(database: Database) -> str | None:
            user, row = await Accounts(database).get_user(name), await AiProviderRows(database).find(provider)
            assert row is not None
            key = await ProviderKeys(database, self.encryption_keys).key_of(user.id, row)
            return None if key is None else key.reveal_secret_value()

        return self.on_database(work)


@pytest.fixture
def terminal(
    database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    """Once for each kind of database, with the users `anna` and `ben`."""
    terminal = Terminal(database_url, capsys, monkeypatch)

    async def move_in(database: Database) -> None:
        for name in ("anna", "ben"):
            await Accounts(database).create_user(name)

    terminal.on_database(move_in)
    return terminal


def test_a_key_is_stored_before_the_gateway_ever_ran(terminal: Terminal) -> None:
    """From standard input, without the line's end; what is said shows a hint of it."""
    outcome = terminal("set --user Anna --provider openai", piped=f"{KEY}\r\n")

    assert outcome == (0, "", "Stored the key sk-f...-own of anna for openai.\n")
    assert terminal.key_of("anna") == KEY
    assert terminal.key_of("ben") is None


def test_at_a_terminal_the_key_is_asked_for_without_an_echo(terminal: Terminal) -> None:
    """As a password is."""

    class Keyboard(io.StringIO):
        def isatty(self) -> bool:
            return True

    asked: list[str] = []

    def typed(prompt: str) -> str:
        asked.append(prompt)
        return KEY

    terminal.monkeypatch.setattr(sys, "stdin", Keyboard())
    terminal.monkeypatch.setattr(getpass, "getpass", typed)

    assert terminal.run("set --user anna --provider openai").status == 0
    assert asked == ["Key: "]
    assert terminal.key_of("anna") == KEY


def test_a_key_is_no_argument(terminal: Terminal) -> None:
    """Others on the machine can see a command line."""
    with pytest.raises(SystemExit):
        terminal(f"set --user anna --provider openai {KEY}")
    with pytest.raises(SystemExit):
        terminal(f"set --user anna --provider openai --key {KEY}")


def test_keys_are_listed_masked(terminal: Terminal) -> None:
    """A table for a person; JSON as the management API answers."""
    terminal("set --user anna --provider openai", piped=KEY)

    listed = terminal("list --user anna")
    heading, line = listed.out.splitlines()
    assert heading.split() == ["PROVIDER", "KEY", "STATE", "SET"]
    assert line.split()[:3] == ["openai", "sk-f...-own", "good"]
    document = json.loads(terminal("list --user anna --json").out)
    assert document["provider_keys"][0]["hint"] == "sk-f...-own"
    assert terminal("list --user ben").out.splitlines() == ["PROVIDER  KEY  STATE  SET"]


def test_the_state_says_what_keeps_a_key_from_being_used(terminal: Terminal) -> None:
    """A disabled provider, or an encryption key that is missing."""
    terminal("set --user anna --provider openai", piped=KEY)
    terminal.on_database(lambda database: AiProviderRows(database).seed([]))
    assert "provider disabled" in terminal("list --user anna").out

    terminal.encryption_keys = (SECOND,)
    assert "openai    -    can't be decrypted" in terminal("list --user anna").out


def test_a_key_is_deleted(terminal: Terminal) -> None:
    """Once."""
    terminal("set --user anna --provider openai", piped=KEY)

    assert terminal("delete --user anna --provider openai") == (
        *(0, ""),
        "Deleted the key of anna for openai.\n",
    )
    assert terminal("delete --user anna --provider openai") == (
        *(1, ""),
        "ai-gateway: No key is stored for the AI provider 'openai'.\n",
    )


def test_keys_are_rotated(terminal: Terminal) -> None:
    """The new encryption key before the old one, then rotate, then without the old one."""
    terminal("set --user anna --provider openai", piped=KEY)
    terminal.encryption_keys = (SECOND, FIRST)

    assert terminal("rotate") == (
        *(0, ""),
        "Encrypted anew: 1; already encrypted with the first key: 0.\n",
    )
    terminal.encryption_keys = (SECOND,)
    assert terminal.key_of("anna") == KEY
    assert terminal("rotate").err == "Encrypted anew: 0; already encrypted with the first key: 1.\n"


def test_rotation_fails_where_a_key_is_lost(terminal: Terminal) -> None:
    """And says whose."""
    terminal("set --user anna --provider openai", piped=KEY)
    terminal.encryption_keys = (SECOND,)

    outcome = terminal("rotate")

    assert outcome.status == 1
    assert outcome.err.endswith("No encryption key opens the key of anna for openai.\n")


def test_a_command_does_not_change_the_providers_that_are_there(terminal: Terminal) -> None:
    """Its shell may have other settings than what serves, or none."""
    terminal("set --user anna --provider openai", piped=KEY)
    terminal.providers = (ProviderOptions(type="anthropic", name="openai"),)
    terminal("set --user ben --provider openai", piped=KEY)
    terminal.providers = ()
    terminal("set --user ben --provider openai", piped=KEY)

    assert (terminal.key_of("anna"), terminal.key_of("ben")) == (KEY, KEY)


@pytest.mark.parametrize(
    ("line", "piped", "sentence"),
    [
        ("set --user nobody --provider openai", KEY, "There is no user 'nobody'."),
        ("set --user anna --provider nobody", KEY, "There is no AI provider 'nobody'."),
        ("set --user anna --provider openai", "", "This can't be a provider's key: it is empty."),
        ("set --user anna --provider openai", f"{KEY}\n{KEY}", "This can't be a provider's key: it must be "),
        ("set --user anna --provider openai", "k" * 100_000, "This can't be a provider's key: it has more"),
        ("list --user nobody", "", "There is no user 'nobody'."),
        ("delete --user nobody --provider openai", "", "There is no user 'nobody'."),
    ],
)
def test_a_mistake_is_one_sentence(terminal: Terminal, line: str, piped: str, sentence: str) -> None:
    """Without the key."""
    outcome = terminal(line, piped=piped)

    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith(f"ai-gateway: {sentence}")
    assert outcome.err.count("\n") == 1
    assert KEY not in outcome.err


def test_what_is_piped_and_is_no_text_is_refused(terminal: Terminal) -> None:
    """Somebody's key store, perhaps."""
    terminal.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00"), "utf-8"))

    outcome = terminal.run("set --user anna --provider openai")

    assert outcome == (1, "", "ai-gateway: This can't be a provider's key: it is no text.\n")


def test_without_an_encryption_key_no_key_is_read(terminal: Terminal) -> None:
    """It would be typed in vain."""
    terminal.encryption_keys = ()
    outcome = terminal("set --user anna --provider openai", piped=KEY)

    assert outcome.status == 1
    assert "set user_key_encryption_keys" in outcome.err
    assert sys.stdin.read() == KEY
    assert terminal("rotate").status == 1


def test_a_key_that_will_not_be_used_is_said_to_be(terminal: Terminal) -> None:
    """The operator may be about to allow it."""
    terminal.allow_byok = False

    outcome = terminal("set --user anna --provider openai", piped=KEY)

    assert outcome.status == 0
    assert outcome.err.endswith("It is not used while allow_byok is off.\n")


@pytest.mark.parametrize(
    ("database_url", "encryption_key"),
    [("mysql://nowhere", FIRST.reveal_secret_value()), ("sqlite:///x.db", "fake-no-fernet-key")],
)
def test_settings_that_cannot_be_used_are_one_sentence(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
    encryption_key: str,
) -> None:
    """Of a host that made them itself; `load` refuses them earlier."""
    terminal = Terminal(database_url, capsys, monkeypatch)
    terminal.encryption_keys = (Secret(encryption_key),)

    outcome = terminal("list --user anna")

    assert (outcome.status, outcome.out) == (1, "")
    assert encryption_key not in outcome.err


def test_a_generated_encryption_key_is_alone_on_standard_output_and_can_be_configured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a file, the new one before the old one; `config show` masks both."""
    monkeypatch.chdir(tmp_path)
    generated = []
    for _ in range(2):
        assert main(["provider-keys", "generate-encryption-key"]) == 0
        out, err = capsys.readouterr()
        assert (out.count("\n"), err) == (1, "")
        generated.append(out.strip())
    (tmp_path / "keys").write_text("\n".join(generated), "utf-8")

    assert main(["config", "show", "--ai-gateway-user-key-encryption-keys-file", "keys"]) == 0

    shown = capsys.readouterr().out
    [line] = [line for line in shown.splitlines() if "user_key_encryption_keys" in line]
    assert [f"{key[:4]}...{key[-4:]}" in line for key in generated] == [True, True]
    assert not any(key in shown for key in generated)
    assert list(tmp_path.iterdir()) == [tmp_path / "keys"]
