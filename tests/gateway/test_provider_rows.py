"""The gateway's own share in the rows of providers: they are written at start and after a reload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.ai_providers import AiProvider
from gateway.app import Gateway, create_app
from gateway.settings import GatewayOptions, Settings, SettingsError
from providers.options import ProviderOptions
from providers.secret import Secret
from recorders.stores.base import StoreError
from recorders.stores.memory import MemoryStore
from tests.gateway.rig import gateway_settings


def settings_at(database_url: str, folder: Path, *providers: ProviderOptions, **changes: Any) -> Settings:
    options = GatewayOptions(
        database_url=Secret(database_url),
        journal_dir=f"{folder}/journal",
        retention_s=0,
        providers=providers,
        **changes,
    )
    return Settings(gateway=options)


async def row(app: Gateway, name: str) -> AiProvider:
    assert app.provider_rows is not None
    found = await app.provider_rows.find(name)
    assert found is not None
    return found


async def test_a_start_and_a_reload_write_the_providers_down(database_url: str, tmp_path: Path) -> None:
    """What is configured no longer is disabled."""
    openai = ProviderOptions(type="openai", name="openai")
    copilot = ProviderOptions(type="copilot", name="copilot")
    app = create_app(settings_at(database_url, tmp_path, openai))
    async with app.lifespan():
        assert (await row(app, "openai")).enabled

        await app.reload(settings_at(database_url, tmp_path, copilot))

        assert not (await row(app, "openai")).enabled
        assert (await row(app, "copilot")).type == "copilot"


async def test_a_guest_changes_nothing_of_a_server_on_the_same_database(
    database_url: str, tmp_path: Path
) -> None:
    """It adds what only it has; what it doesn't have stays on, and so do records that it would keep for less long."""
    ours = ProviderOptions(type="openai", name="ours")
    server = create_app(settings_at(database_url, tmp_path / "server", ours))
    theirs = settings_at(database_url, tmp_path / "guest", ProviderOptions(type="copilot", name="theirs"))
    guest = create_app(theirs, is_guest=True)
    async with server.lifespan():
        async with guest.lifespan():
            assert guest.retention is None
            assert (await row(guest, "theirs")).enabled
            await guest.reload(theirs)
        assert (await row(server, "ours")).enabled
        assert server.retention is not None


async def test_a_reload_without_the_database_is_made_up_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Providers are changed at once; until the rows can be written nobody is told the old ones."""
    url = f"sqlite:///{tmp_path}/gateway.db"
    app = create_app(settings_at(url, tmp_path, ProviderOptions(type="openai", name="mine")))
    async with app.lifespan():
        assert app.database is not None
        await app.database.close()
        new = settings_at(url, tmp_path, ProviderOptions(type="anthropic", name="mine"))

        await app.reload(new)

        assert app.settings.gateway.providers == new.gateway.providers
        assert any(
            record.getMessage().startswith("the rows of the providers are written later: ")
            for record in caplog.records
        )
        with pytest.raises(StoreError):
            await row(app, "mine")
        await app.database.open()
        assert (await row(app, "mine")).type == "anthropic"


async def test_a_gateway_without_a_database_keeps_no_rows_and_no_keys() -> None:
    """Its host has a store and an authority of its own."""
    app = create_app(gateway_settings(), store=MemoryStore())
    async with app.lifespan():
        await app.reload(gateway_settings())

    assert (app.provider_rows, app.provider_keys) == (None, None)


def test_an_encryption_key_that_is_none_ends_the_start_in_a_sentence(tmp_path: Path) -> None:
    """It doesn't repeat the key."""
    wrong = "fake-key-that-is-no-fernet-key"
    settings = settings_at("sqlite:///x.db", tmp_path, user_key_encryption_keys=(Secret(wrong),))

    with pytest.raises(SettingsError, match=r"^user_key_encryption_keys must be 32 bytes") as caught:
        create_app(settings)

    assert wrong not in str(caught.value)
