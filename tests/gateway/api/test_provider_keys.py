"""A user's own provider keys over HTTP."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.api.parameters import NewProviderKey
from gateway.app import create_app
from gateway.settings import GatewayOptions, Settings
from providers.options import ProviderOptions
from providers.secret import Secret
from tests.asgi import call, http_scope
from tests.gateway.api.house import PREFIX, House, house_at

KEY = "sk-fake-key-that-is-the-users-own"
TOKEN = "fakegateid-fakegatewaytokenfakegatewaytoken"


async def ask(
    house: House, method: str, target: str, document: Any = None, *, by: str = "mia"
) -> tuple[int, Any]:
    body = b"" if document is None else msgspec.json.encode(document)
    answer = await house.ask(target, token=house.people[by].token, method=method, body=body)
    return answer.status, msgspec.json.decode(answer.body)


async def stored(house: House, by: str = "mia") -> list[Any]:
    status, answer = await ask(house, "GET", "/provider-keys", by=by)
    assert status == 200
    keys: list[Any] = answer["provider_keys"]
    return keys


async def test_a_key_is_set_listed_and_deleted(house: House) -> None:
    """It never comes out again; the answers have a hint."""
    status, answer = await ask(house, "PUT", "/provider-keys/openai", {"key": KEY})
    assert status == 200
    assert answer == {
        "provider": "openai",
        "provider_enabled": True,
        "hint": "sk-f...-own",
        "usable": True,
        "created_at": answer["created_at"],
        "updated_at": answer["created_at"],
    }
    assert await stored(house) == [answer]
    assert house.app.provider_keys is not None
    assert house.app.provider_rows is not None
    provider = await house.app.provider_rows.find("openai")
    assert provider is not None
    assert await house.app.provider_keys.key_of(house.people["mia"].id, provider) == Secret(KEY)

    assert await ask(house, "DELETE", "/provider-keys/openai") == (200, answer)
    assert await stored(house) == []
    assert await ask(house, "DELETE", "/provider-keys/openai") == (
        404,
        {"message": "No key is stored for the AI provider 'openai'."},
    )


async def test_each_caller_has_their_own_whatever_their_role(house: House) -> None:
    """An admin sees no key of anybody else's, and deletes none."""
    await ask(house, "PUT", "/provider-keys/openai", {"key": KEY}, by="mia")

    for name in ("max", "audrey", "adam"):
        assert await stored(house, name) == []
        assert (await ask(house, "DELETE", "/provider-keys/openai", by=name))[0] == 404
    assert len(await stored(house, "mia")) == 1


@pytest.mark.parametrize(
    ("target", "document", "error"),
    [
        ("/provider-keys/nobody", {"key": KEY}, (404, "There is no AI provider 'nobody'.")),
        ("/provider-keys/open%00ai", {"key": KEY}, (404, "There is no AI provider of this name.")),
        ("/provider-keys/openai", {}, (400, "key: missing")),
        ("/provider-keys/openai", {"key": ""}, (400, "key: Expected `str` of length >= 1")),
        ("/provider-keys/openai", {"key": "k" * 8193}, (400, "key: Expected `str` of length <= 8192")),
        (
            "/provider-keys/openai",
            {"key": f"{KEY}\n"},
            (400, "key: This can't be a provider's key: it must be"),
        ),
        ("/provider-keys/openai", {"key": f"{KEY} "}, (400, "key: Expected `str` matching regex")),
        ("/provider-keys/openai", {"key": KEY, "user": "max"}, (400, "'user': unknown")),
        ("/provider-keys/openai", [KEY], (400, "the body must be a JSON object")),
        ("/provider-keys/openai", KEY, (400, "the body must be a JSON object")),
        (f"/provider-keys/openai?key={KEY}", {"key": KEY}, (400, "'key': unknown")),
    ],
)
async def test_a_mistake_is_told_without_the_key(
    small_house: House, target: str, document: Any, error: tuple[int, str]
) -> None:
    """The body may be anything that somebody pasted."""
    status, answer = await ask(small_house, "PUT", target, document)

    assert (status, answer["message"][: len(error[1])]) == error
    assert KEY not in answer["message"]
    assert await stored(small_house) == []


async def test_where_users_may_not_bring_keys_what_is_there_can_be_seen_and_deleted(tmp_path: Path) -> None:
    """And nothing can be added."""
    async with house_at(f"sqlite:///{tmp_path}/gateway.db", tmp_path, allow_byok=False) as house:
        assert house.app.provider_keys is not None
        await house.app.provider_keys.set(house.people["mia"].id, "openai", Secret(KEY))

        refused = await ask(house, "PUT", "/provider-keys/openai", {"key": KEY})
        assert refused == (
            403,
            {"message": "users' own provider keys are not allowed here (setting `allow_byok`)"},
        )
        assert len(await stored(house)) == 1
        assert (await ask(house, "DELETE", "/provider-keys/openai"))[0] == 200


async def test_without_an_encryption_key_none_is_taken(tmp_path: Path) -> None:
    """The sentence names the setting that is missing."""
    async with house_at(f"sqlite:///{tmp_path}/gateway.db", tmp_path, user_key_encryption_keys=()) as house:
        status, answer = await ask(house, "PUT", "/provider-keys/openai", {"key": KEY})

    assert status == 409
    assert "set user_key_encryption_keys" in answer["message"]


async def test_a_disabled_provider_is_a_conflict(small_house: House) -> None:
    """Of what is asked with what is configured."""
    assert small_house.app.provider_rows is not None
    await small_house.app.provider_rows.seed([ProviderOptions(type="openai", name="openai", enabled=False)])

    status, answer = await ask(small_house, "PUT", "/provider-keys/openai", {"key": KEY})

    assert (status, answer["message"]) == (409, "The AI provider 'openai' is disabled, so it takes no keys.")


async def test_a_user_of_another_authority_is_told_that_there_is_no_place(tmp_path: Path) -> None:
    """The database has no such user; that is no failure of ours."""
    options = GatewayOptions(
        database_url=Secret(f"sqlite:///{tmp_path}/gateway.db"),
        journal_dir=f"{tmp_path}/journal",
        auth="static",
        static_token=Secret(TOKEN),
        providers=(ProviderOptions(type="openai", name="openai"),),
        user_key_encryption_keys=(Secret("ZmFrZS1lbmNyeXB0aW9uLWtleS1vZi0zMi1ieXRlcy4="),),
    )
    app = create_app(Settings(gateway=options))
    async with app.lifespan():
        headers = [("authorization", f"Bearer {TOKEN}")]
        scope = http_scope("PUT", f"{PREFIX}/provider-keys/openai", headers=headers)
        answer = await call(app, scope, msgspec.json.encode({"key": KEY}))

    assert answer.status == 409
    assert b"kept by another authority" in answer.body


async def test_the_key_is_in_no_log_and_no_answer(
    small_house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the database fails in the middle."""
    caplog.set_level(logging.DEBUG)
    answers = [await ask(small_house, "PUT", "/provider-keys/openai", {"key": KEY})]
    answers.append(await ask(small_house, "GET", "/provider-keys"))
    answers.append(await ask(small_house, "PUT", "/provider-keys/nobody", {"key": KEY}))
    assert small_house.app.database is not None
    await small_house.app.database.close()
    answers.append(await ask(small_house, "PUT", "/provider-keys/openai", {"key": KEY}))

    assert [status for status, _ in answers] == [200, 200, 404, 503]
    assert KEY not in f"{answers}{caplog.text}"


def test_the_body_does_not_show_its_key() -> None:
    """Where a debugger or an error prints what was given."""
    assert KEY not in f"{NewProviderKey(key=KEY)!r}{NewProviderKey(key=KEY)}"
