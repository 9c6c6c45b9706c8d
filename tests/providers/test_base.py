"""Endpoints, slots, credentials and edits: the small parts that every provider is made of."""

from __future__ import annotations

import dataclasses

import pytest

from providers.anthropic.provider import ANTHROPIC
from providers.base import (
    ANY,
    BEARER,
    POST,
    X_API_KEY,
    Credential,
    Edit,
    Endpoint,
    Provider,
    Slot,
    apply_edits,
)
from providers.openai.provider import OPENAI
from providers.secret import Secret

KEY = "fake-key-0123456789"


@pytest.mark.parametrize(
    ("endpoint", "method", "path", "served"),
    [
        (Endpoint(POST, "/a"), "POST", "/a", True),
        (Endpoint(POST, "/a"), "GET", "/a", False),
        (Endpoint(POST, "/a"), "post", "/a", False),
        (Endpoint(POST, "/a"), "POST", "/a/", False),
        (Endpoint(POST, "/a"), "POST", "/ab", False),
        (Endpoint(ANY, "/a"), "DELETE", "/a", True),
        (Endpoint(ANY, "/a"), "TRACE", "/a", False),
        (Endpoint(ANY, "/a/*"), "GET", "/a", False),
        (Endpoint(ANY, "/a/*"), "GET", "/ab", False),
        (Endpoint(ANY, "/a/*"), "GET", "/a/b", True),
        (Endpoint(ANY, "/a/*"), "GET", "/a/b/c", True),
    ],
)
def test_an_endpoint_serves_its_path_and_methods(
    endpoint: Endpoint, method: str, path: str, served: bool
) -> None:
    """A path is matched whole; `/*` means anything below."""
    assert endpoint.serves(method, path) is served


@pytest.mark.parametrize(
    ("slot", "value", "secret"),
    [
        (BEARER, b"Bearer k", "k"),
        (BEARER, b"bearer k", "k"),
        (BEARER, b" BEARER   k ", "k"),
        (BEARER, b"Bearer ", None),
        (BEARER, b"Bearer", None),
        (BEARER, b"Bearerk", None),
        (BEARER, b"Basic k", None),
        (BEARER, b"k", None),
        (BEARER, b"", None),
        (X_API_KEY, b"k", "k"),
        (X_API_KEY, b"  k ", "k"),
        (X_API_KEY, b" ", None),
    ],
)
def test_a_slot_reads_what_it_would_write(slot: Slot, value: bytes, secret: str | None) -> None:
    """The scheme in any case and apart from the secret; another scheme or nothing is no credential."""
    assert slot.read(value) == (Secret(secret) if secret else None)


@pytest.mark.parametrize("slot", [BEARER, X_API_KEY])
def test_a_slot_writes_what_it_reads(slot: Slot) -> None:
    """There and back."""
    assert slot.read(slot.value(Secret(KEY))) == Secret(KEY)


def test_a_credential_shows_only_its_hint() -> None:
    """Its repr may land in a log."""
    credential = Credential(BEARER, Secret(KEY))
    assert KEY not in repr(credential)
    assert credential.hint == "fa...89"


BODY = b'{"a": 1, "b": 2}'


@pytest.mark.parametrize(
    ("edits", "edited"),
    [
        ([], BODY),
        ([Edit(6, 7, b"10")], b'{"a": 10, "b": 2}'),
        ([Edit(1, 1, b'"n": 0, ')], b'{"n": 0, "a": 1, "b": 2}'),
        ([Edit(14, 15, b"3"), Edit(6, 7, b"")], b'{"a": , "b": 3}'),
        ([Edit(0, len(BODY), b"{}")], b"{}"),
    ],
)
def test_an_edit_changes_nothing_outside_its_span(edits: list[Edit], edited: bytes) -> None:
    """Spans are of the body as it was, in whatever order they are given."""
    assert apply_edits(BODY, edits) == edited


def test_the_path_below_the_client_prefix_is_the_upstream_path() -> None:
    """For openai the `/v1` belongs to the client's base URL and is not repeated."""
    openai = Provider(OPENAI, "o", "https://o.test/v1")
    anthropic = Provider(ANTHROPIC, "a", "https://a.test")
    route = openai.match("POST", "/v1/responses")
    assert route is not None
    assert route.upstream_path == "/responses"
    route = anthropic.match("POST", "/v1/messages")
    assert route is not None
    assert route.upstream_path == "/v1/messages"
    assert [openai.match("POST", path) for path in ("/responses", "/v1", "/v1x/responses", "")] == [None] * 4


def test_extra_endpoints_extend_the_list() -> None:
    """One setting opens a route that the type doesn't list, for passing through."""
    extra = (Endpoint(ANY, "/embeddings"),)
    provider = Provider(OPENAI, "o", "https://o.test/v1", extra_endpoints=extra)
    route = provider.match("POST", "/v1/embeddings")
    assert route is not None
    assert route.api is None


def test_an_extra_endpoint_does_not_hide_a_recorded_one() -> None:
    """What is recorded stays recorded, however wide the extra route is."""
    provider = Provider(OPENAI, "o", "https://o.test/v1", extra_endpoints=(Endpoint(ANY, "/*"),))
    route = provider.match("POST", "/v1/chat/completions")
    assert route is not None
    assert route.api is not None


def test_the_central_key_stands_in_the_first_slot() -> None:
    """The primary key of several; none when there is none."""
    provider = Provider(OPENAI, "o", "https://o.test", keys=(Secret(KEY), Secret("second")))
    assert provider.central_credential() == Credential(BEARER, Secret(KEY))
    anthropic = dataclasses.replace(provider, type=ANTHROPIC)
    assert anthropic.central_credential() == Credential(X_API_KEY, Secret(KEY))
    assert dataclasses.replace(provider, keys=()).central_credential() is None


def test_a_provider_shows_no_key() -> None:
    """Its repr may land in a log."""
    assert KEY not in repr(Provider(OPENAI, "o", "https://o.test", keys=(Secret(KEY),)))
