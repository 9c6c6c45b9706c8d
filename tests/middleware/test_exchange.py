"""The state that layers share: one object a request, whose text holds no secret, and the IDs that name it."""

from __future__ import annotations

import pytest

from middleware.exchange import Exchange, header, new_id, with_headers
from providers.base import BEARER, Credential
from providers.secret import Secret
from tests.asgi import http_scope
from tests.middleware.exchanges import TOKEN, USER_KEY


def test_ids_are_uuids_of_version_7() -> None:
    """They sort by time, and no two are the same."""
    ids = [new_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert {each[14] for each in ids} == {"7"}


def test_a_request_has_one_exchange_also_under_other_headers() -> None:
    """A layer that changes the headers shares what it knows with those outside it."""
    scope = http_scope()
    exchange = Exchange.of(scope)
    inward = with_headers(scope, [(b"x-inward", b"1")])
    assert Exchange.of(inward) is Exchange.of(scope) is exchange
    assert (inward["headers"], scope["headers"]) == ([(b"x-inward", b"1")], [])
    assert Exchange.of(http_scope()) is not exchange


@pytest.mark.parametrize(
    ("headers", "value"),
    [([], None), ([("x-a", " 1 ")], "1"), ([("x-a", "1"), ("x-a", "2")], "1"), ([("x-a", "")], "")],
)
def test_a_header_is_its_first_value_trimmed(headers: list[tuple[str, str]], value: str | None) -> None:
    """One that is absent is None, and not the same as an empty one."""
    assert header(http_scope(headers=headers), b"x-a") == value


def test_its_text_holds_no_secret() -> None:
    """Neither the token nor a credential, nor the body, when somebody logs it."""
    exchange = Exchange(
        token=Secret(TOKEN), credential=Credential(BEARER, Secret(USER_KEY)), body=b"a private prompt"
    )
    for text in (repr(exchange), f"{exchange}"):
        assert TOKEN not in text
        assert USER_KEY not in text
        assert "private" not in text
