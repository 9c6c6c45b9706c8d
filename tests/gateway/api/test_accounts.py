"""Users and keys over HTTP."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.gateway.api.house import House


async def ask(house: House, method: str, target: str, document: Any = None) -> tuple[int, Any]:
    body = b"" if document is None else msgspec.json.encode(document)
    answer = await house.ask(target, token=house.people["adam"].token, method=method, body=body)
    return answer.status, msgspec.json.decode(answer.body)


async def test_a_user_is_added_listed_suspended_activated_and_deleted(house: House) -> None:
    """The life of a user, on both databases."""
    status, user = await ask(house, "POST", "/users", {"name": "Nora", "role": "auditor"})
    assert (status, user["name"], user["role"], user["status"]) == (201, "Nora", "auditor", "active")

    assert (await ask(house, "POST", "/users/nora/suspend"))[1]["status"] == "suspended"
    assert (await ask(house, "POST", "/users/nora/activate"))[1]["status"] == "active"
    names = [user["name"] for user in (await ask(house, "GET", "/users"))[1]["users"]]
    assert names == ["adam", "audrey", "max", "mia", "Nora"]

    assert (await ask(house, "DELETE", "/users/nora"))[1]["status"] == "deleted"
    assert await ask(house, "DELETE", "/users/nora") == (404, {"message": "There is no user 'nora'."})


async def test_a_token_is_shown_once_and_works(house: House) -> None:
    """No other answer has its secret, or the hash."""
    status, new = await ask(house, "POST", "/keys", {"user": "mia", "lifetime": "90d"})
    secret = new["token"].partition("-")[2]

    assert status == 201
    assert new["key"]["username"] == "mia"
    assert (await house.ask("/sessions", token=new["token"])).status == 200
    status, listed = await ask(house, "GET", "/keys?user=mia")
    assert [key["id"] for key in listed["keys"]] == [house.people["mia"].key_id, new["key"]["id"]]
    assert secret not in msgspec.json.encode(listed).decode()
    assert set(listed["keys"][0]) == {
        *("id", "user_id", "username", "user_status", "created_at", "expires_at", "revoked_at")
    }


async def test_a_key_is_revoked_for_good(house: House) -> None:
    """And stays in the list, with the time of its end."""
    key_id = house.people["mia"].key_id
    status, key = await ask(house, "DELETE", f"/keys/{key_id}")

    assert status == 200
    assert key["revoked_at"] is not None
    assert (await ask(house, "DELETE", f"/keys/{key_id}"))[1] == key
    assert (await house.ask("/sessions", token=house.people["mia"].token)).status == 403


@pytest.mark.parametrize(
    ("method", "target", "document", "error"),
    [
        ("POST", "/users", {"name": "MIA"}, (409, "There is already a user 'MIA'.")),
        ("POST", "/users", {}, (400, "name: missing")),
        (
            "POST",
            "/users",
            {"name": "x", "role": "root", "is_system": True},
            (400, "'is_system': unknown; role: "),
        ),
        ("POST", "/users", {"name": "a b"}, (400, "name: ")),
        ("POST", "/users", ["x"], (400, "the body must be a JSON object")),
        ("POST", "/users?name=x", {"name": "x"}, (400, "'name': unknown")),
        ("POST", "/keys", {"user": "nobody"}, (404, "There is no user 'nobody'.")),
        ("POST", "/keys", {"user": 7, "lifetime": ""}, (400, "user: Expected `str`, got `int`; lifetime: ")),
        (
            "POST",
            "/keys",
            {"user": "mia", "lifetime": "soon"},
            (400, "lifetime: write it as 90d, 12h or 1d12h"),
        ),
        ("POST", "/keys", {"user": "mia", "lifetime": "0"}, (400, "The lifetime of a key must be longer")),
        ("POST", "/keys", {"user": "mia\x00"}, (400, "user: holds a character that no text has")),
        ("DELETE", "/keys/AAAAAAAAAA", None, (404, "There is no key 'AAAAAAAAAA'.")),
        ("GET", "/keys?user=nobody", None, (404, "There is no user 'nobody'.")),
        ("POST", "/users/%00/suspend", None, (404, "There is no user '\\x00'.")),
    ],
)
async def test_a_mistake_is_told_in_words(
    small_house: House, method: str, target: str, document: Any, error: tuple[int, str]
) -> None:
    """With the status that says whose it is."""
    status, answer = await ask(small_house, method, target, document)

    assert (status, answer["message"][: len(error[1])]) == error


async def test_a_key_for_a_suspended_user_is_a_conflict(small_house: House) -> None:
    """It could not be used."""
    await small_house.accounts.suspend_user("mia")

    status, answer = await ask(small_house, "POST", "/keys", {"user": "mia"})

    assert (status, answer["message"]) == (409, "The user 'mia' can't have keys: it is suspended.")


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"\xff", 400), (b'"' + b"x" * 70_000 + b'"', 413)]
)
async def test_a_body_that_cannot_be_taken_is_refused(small_house: House, body: bytes, status: int) -> None:
    """Before anything is made of it."""
    answer = await small_house.ask("/users", token=small_house.people["adam"].token, method="POST", body=body)

    assert answer.status == status


async def test_a_token_pasted_for_an_id_is_not_repeated(small_house: House) -> None:
    """Answers end up in logs."""
    token = small_house.people["mia"].token
    status, answer = await ask(small_house, "DELETE", f"/keys/{token}")

    assert status == 404
    assert token not in answer["message"]
