from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from gateway.authenticators import MAX_ANSWER_BYTES, HttpAuthenticator, StaticAuthenticator
from middleware.auth import Authenticator
from middleware.errors import AuthorityUnreachable, Unauthorized
from middleware.exchange import Identity, Role
from providers.secret import Secret

TOKEN = Secret("keyid12345-notARealSecretNotARealSecret")
ANNA = {"id": "u1", "username": "anna", "status": "active", "roles": [{"name": "member"}], "email": "a@b"}


class ControlPlane(httpx.AsyncBaseTransport):
    """Answers as the test says and keeps what it was asked."""

    def __init__(self, answer: Callable[[], httpx.Response] | Exception) -> None:
        self.answer = answer
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer()


class Body(httpx.AsyncByteStream):
    """A body that comes in pieces, hangs after them when asked to, and knows whether it was closed."""

    def __init__(self, *pieces: bytes, hang: bool = False) -> None:
        self.pieces = pieces
        self.hang = hang
        self.sent = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.sent += 1
            yield piece
        if self.hang:
            await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.closed = True


class SyncBody(httpx.SyncByteStream):
    """What an asynchronous transport must not give."""

    def __iter__(self) -> Iterator[bytes]:
        return iter([json.dumps(ANNA).encode()])


def answering(**changes: Any) -> ControlPlane:
    return ControlPlane(lambda: httpx.Response(200, content=json.dumps(ANNA | changes)))


def asking(plane: ControlPlane, url: str = "https://plane.example", **options: Any) -> Authenticator:
    return HttpAuthenticator(url, transport=plane, **options)


async def test_the_control_plane_is_asked_with_the_token_in_its_own_header() -> None:
    """One GET, and nothing else that could carry the token."""
    plane = answering()

    identity = await asking(plane, "https://plane.example/base/").authenticate(TOKEN)

    assert identity == Identity("u1", "anna", "keyid12345", "member")
    (request,) = plane.requests
    assert request.method == "GET"
    assert str(request.url) == "https://plane.example/base/api/v2/users/me"
    assert request.headers["coder-session-token"] == TOKEN.reveal_secret_value()
    assert "authorization" not in request.headers
    assert "cookie" not in request.headers
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("roles", "role"),
    [
        ([], "member"),
        ([{"name": "template-admin"}], "member"),
        ([{"name": "auditor", "display_name": "Auditor"}], "auditor"),
        ([{"name": "auditor"}, {"name": "owner"}, {"name": "member"}], "admin"),
    ],
)
async def test_the_highest_role_counts_and_unknown_ones_give_nothing(
    roles: list[dict[str, str]], role: Role
) -> None:
    """What the control plane calls owner is our admin."""
    assert (await asking(answering(roles=roles)).authenticate(TOKEN)).role == role


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_of_the_control_plane_is_ours(status: int) -> None:
    """Its word on the token, whatever its body says."""
    plane = ControlPlane(lambda: httpx.Response(status, content=b"<html>"))

    with pytest.raises(Unauthorized) as caught:
        await asking(plane).authenticate(TOKEN)

    assert str(status) in caught.value.reason


@pytest.mark.parametrize("status", ["suspended", "dormant", ""])
async def test_a_user_who_is_not_active_is_refused(status: str) -> None:
    """Even when the control plane answers 200."""
    with pytest.raises(Unauthorized, match="unauthorized"):
        await asking(answering(status=status)).authenticate(TOKEN)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        OSError("unreachable"),
        TimeoutError(),
        lambda: httpx.Response(500, content=b"{}"),
        lambda: httpx.Response(404, content=b"{}"),
        lambda: httpx.Response(429, content=b"{}"),
        lambda: httpx.Response(302, headers={"location": "https://evil.example/"}),
        lambda: httpx.Response(200, content=b"<html>log in</html>"),
        lambda: httpx.Response(200, content=b'{"id": "u1", "username": "anna"}'),
        lambda: httpx.Response(200, content=b'{"id": 1, "username": "anna", "status": "active"}'),
        lambda: httpx.Response(200, content=b""),
        lambda: httpx.Response(200, stream=SyncBody()),
    ],
)
async def test_anything_that_says_nothing_about_the_token_counts_as_unreachable(
    answer: Callable[[], httpx.Response] | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """503 and never 403; a redirect isn't followed; the log has no token."""
    plane = ControlPlane(answer)

    with pytest.raises(AuthorityUnreachable):
        await asking(plane).authenticate(TOKEN)

    assert len(plane.requests) == 1
    assert "authority plane.example" in caplog.text
    assert TOKEN.reveal_secret_value() not in caplog.text


async def test_an_endless_answer_is_cut_off_and_closed() -> None:
    """A broken control plane can't fill the memory."""
    body = Body(*[b"x" * 65536] * 100)

    with pytest.raises(AuthorityUnreachable):
        await asking(ControlPlane(lambda: httpx.Response(200, stream=body))).authenticate(TOKEN)

    assert body.closed
    assert body.sent <= MAX_ANSWER_BYTES // 65536 + 1


async def test_an_answer_that_stalls_is_given_up_and_closed() -> None:
    """The deadline is for the whole exchange."""
    body = Body(b"{", hang=True)

    with pytest.raises(AuthorityUnreachable):
        await asking(ControlPlane(lambda: httpx.Response(200, stream=body)), timeout_s=0.01).authenticate(
            TOKEN
        )

    assert body.closed


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nodash",
        "-secret",
        "id-",
        "a b-secret",
        "id-se cret",
        "id-x\r\nX-Evil: 1",
        "id-x\x00",
        "id-ü",
        "id-" + "x" * 513,
    ],
)
async def test_what_could_not_be_a_token_is_refused_without_asking(token: str) -> None:
    """It would become a header; and without a dash the key's ID would be its secret."""
    plane = answering()

    with pytest.raises(Unauthorized):
        await asking(plane).authenticate(Secret(token))

    assert plane.requests == []


async def test_a_control_plane_does_not_vouch_for_a_key_without_its_token() -> None:
    """It has no such question; nobody is let in by guess."""
    plane = answering()

    with pytest.raises(Unauthorized):
        await asking(plane).identify("keyid12345")

    assert plane.requests == []


@pytest.mark.parametrize("url", ["", "plane.example", "ftp://plane.example", "https://"])
def test_a_url_that_names_no_control_plane_is_refused(url: str) -> None:
    """At start-up, by the option's name."""
    with pytest.raises(ValueError, match="auth_url"):
        asking(answering(), url)


async def test_the_configured_token_is_its_user() -> None:
    """As admin, unless told otherwise."""
    authenticator: Authenticator = StaticAuthenticator(TOKEN, "anna")
    identity = Identity("anna", "anna", "static", "admin")

    assert await authenticator.authenticate(Secret(TOKEN.reveal_secret_value())) == identity
    assert await authenticator.identify("static") == identity


@pytest.mark.parametrize("token", ["", "x", TOKEN.reveal_secret_value()[:-1], "ü", "\ud800", "a\x00"])
async def test_any_other_token_than_the_configured_one_is_wrong(token: str) -> None:
    """Prefixes and odd characters too."""
    authenticator = StaticAuthenticator(TOKEN, "anna")

    with pytest.raises(Unauthorized):
        await authenticator.authenticate(Secret(token))
    with pytest.raises(Unauthorized):
        await authenticator.identify(token)


def test_an_empty_configured_token_is_refused() -> None:
    """It would let in whoever sends none."""
    with pytest.raises(ValueError, match="static_token"):
        StaticAuthenticator(Secret(""), "anna")
