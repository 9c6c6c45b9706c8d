"""Secrets in the settings: no object, no `config show`, no start-up error and no traceback tells one."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.app import create_app
from gateway.config_show import render
from gateway.instances import LEGACY_SETTINGS
from gateway.settings import GATEWAY_OPTIONS, Settings, load, vendor_providers
from gateway.settings_error import SettingsError
from recorders.stores.base import StoreError
from tests.security.canaries import Canaries, found
from tests.security.observation import Observation, check_object

CANARIES = Canaries(random.Random(7))
PREFIX = "CODER_AI_GATEWAY_"


def _secrets() -> dict[str, str]:
    """A canary in every setting that holds a secret."""
    make = CANARIES.make
    return {
        "PROVIDER_0_TYPE": "openai",
        "PROVIDER_0_NAME": "first",
        "PROVIDER_0_KEYS": f"{make('central')},{make('second')}",
        "PROVIDER_1_TYPE": "copilot",
        "PROVIDER_1_KEY": make("central"),
        "PROVIDER_2_TYPE": "anthropic",
        "PROVIDER_2_NAME": "bedrock",
        "PROVIDER_2_BEDROCK_REGION": "eu-central-1",
        "PROVIDER_2_BEDROCK_ACCESS_KEYS": f"{make('awsid')},{make('awsid')}",
        "PROVIDER_2_BEDROCK_ACCESS_KEY_SECRETS": f"{make('awssecret')},{make('awssecret')}",
        "OPENAI_KEY": make("legacy"),
        "ANTHROPIC_KEY": make("legacy"),
        "DATABASE_URL": f"postgresql://gateway:{make('password')}@db.example/x?sslpassword={make('password')}",
        "STATIC_TOKEN": make("static"),
        "USER_KEY_ENCRYPTION_KEYS": f"{make('seal')}AAAAAAAA=,{make('seal')}AAAAAAAA=",
        "OTLP_HEADERS": f"authorization=Bearer {make('collector')}",
    }


def _load(values: Mapping[str, str]) -> Settings:
    return load(environ={PREFIX + name: value for name, value in values.items()})


def _parts(thing: Any) -> Iterator[Any]:
    """The object and all below it."""
    yield thing
    if isinstance(thing, msgspec.Struct):
        for name in thing.__struct_fields__:
            yield from _parts(getattr(thing, name))
    elif isinstance(thing, tuple):
        for each in thing:
            yield from _parts(each)


def test_no_part_of_the_settings_shows_a_secret() -> None:
    """Printed, formatted, pickled, encoded: the structs, the instances, the values themselves."""
    seen = Observation()
    settings = _load(_secrets())
    vendors = vendor_providers({"OPENAI_API_KEY": CANARIES.make("vendor")})
    for part in [*_parts(settings), *_parts(vendors)]:
        check_object(part, seen)
    assert seen.of("object") == []


def test_config_show_masks_every_secret() -> None:
    """Hints only, and of the database URL neither password."""
    shown = render(_load(_secrets()))
    assert "awsid" not in shown
    assert found(shown.encode()) == set()
    assert "gateway:***@db.example" in shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"PROVIDER_0_KEYS": "{0},{0}"},
        {"PROVIDER_0_KEY": "{0} {0}"},
        {"PROVIDER_0_KEYS": "{0},a,b,c,d,e"},
        {"PROVIDER_0_BASE_URL": "https://user:{0}@host.example/"},
        {"PROVIDER_0_BASE_URL": "https://host.example/?key={0}"},
        {"PROVIDER_0_BASE_URL": "{0}"},
        {"PROVIDER_0_TYPE": "{0}"},
        {"PROVIDER_2_BEDROCK_ACCESS_KEYS": "{0}"},
        {"DATABASE_URL": "{0}"},
        {"DATABASE_URL": "postgresql://u@host:{0}/x"},
        {"DATABASE_URL": "postgresql://u:a/{0}@host/x"},
        {"DATABASE_URL": "mysql://u:{0}@host/x"},
        {"AUTH": "{0}"},
        {"AUTH_URL": "https://u:{0}@host.example"},
        {"PORT": "{0}"},
        {"RETENTION": "{0}"},
        {"MAX_BODY_BYTES": "{0}"},
        {"ALLOW_BYOK": "{0}"},
        {"ACTOR_ID_HEADER": "{0} {0}"},
        {"OPENAI_KEY": "{0} {0}"},
    ],
)
def test_a_start_up_error_does_not_repeat_what_it_refuses(wrong: dict[str, str]) -> None:
    """A secret that was put into the wrong setting, or is misspelt, shows in no message and no traceback."""
    values = _secrets() | {name: value.format(CANARIES.make("misplaced")) for name, value in wrong.items()}
    with pytest.raises(SettingsError) as error:
        _load(values)
    assert found("".join(traceback.format_exception(error.value)).encode()) == set()


async def test_a_database_that_cannot_be_reached_is_named_without_its_password() -> None:
    """Neither by the error that ends the start, nor by anything in its chain, nor by what stands for the database."""
    url = f"postgresql://gateway:{CANARIES.make('password')}@127.0.0.1:1/x"
    with pytest.raises((SettingsError, StoreError)) as error:
        await _start(_load({"DATABASE_URL": url, "JOURNAL_DIR": ""}))
    assert found("".join(traceback.format_exception(error.value)).encode()) == set()


async def _start(settings: Settings) -> None:
    app = create_app(settings)
    assert found(f"{app!r} {app.database!r} {app.store!r}".encode()) == set()
    async with app.lifespan():
        raise AssertionError("nothing listens on port 1")


def test_a_file_with_a_broken_line_is_named_and_not_quoted(tmp_path: Path) -> None:
    """YAML's own complaint shows the line, which may be the one with the key."""
    config = tmp_path / "settings.yaml"
    config.write_text(f"ai_gateway:\n  openai_key: {CANARIES.make('yaml')}: [\n")
    with pytest.raises(SettingsError) as error:
        load(config=config, environ={})
    assert "line 2" in str(error.value)
    assert found("".join(traceback.format_exception(error.value)).encode()) == set()


def test_every_setting_that_holds_a_secret_is_in_this_test() -> None:
    """A new one is added here as well."""
    known = set(_secrets())
    options = {option.name.upper() for option in GATEWAY_OPTIONS if option.kind.secret}
    legacy = {setting.name.upper() for setting in LEGACY_SETTINGS if setting.kind.secret}
    assert options <= known
    assert legacy - known == {"BEDROCK_ACCESS_KEY", "BEDROCK_ACCESS_KEY_SECRET"}  # the same as an instance's
