"""Nothing that holds a delegated credential shows it, however it is asked."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import httpx2
import msgspec
import openai
import pytest

from gateway.ai_providers import AiProvider
from gateway.chat.routing import (
    ChatIdentity,
    DirectRoute,
    Ends,
    GatewayRoute,
    HttpCall,
    ModelName,
    ModelOptions,
    ModelRequest,
    build_model,
)
from gateway.chat.routing.credentials import REDACTED, Carried, Delegated, redacted, slot_of
from gateway.transport import GatewayTransport
from middleware.exchange import DELEGATED_MARKER, GOVERNANCE_HEADER

CANARY = "sk-fake-canary-0123456789abcdef"
PROVIDER = AiProvider("p-1", "openai", "openai", True, "https://api.openai.com/v1")
REQUEST = ModelRequest(
    ChatIdentity("chat-1", "chat-1", "user-1"),
    ModelName("openai", "gpt"),
    extra_headers={"Authorization": "Bearer nobody", "X-Trace": "1"},
)
OPTIONS = ModelOptions(active_api_key_id="key0000001")


async def app(scope: Any, receive: Any, send: Any) -> None:
    """A gateway that fails, and says nothing of what it saw."""
    raise RuntimeError("broken")


def refusing(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(401, json={"error": {"message": "wrong key"}})


ENDS = Ends(gateway=app, direct=httpx2.MockTransport(refusing))
SECRET = Delegated(CANARY)
CARRIED = Carried(slot_of("openai"), SECRET, (GOVERNANCE_HEADER, DELEGATED_MARKER.encode()))
HOLDERS: dict[str, Any] = {
    "the key": SECRET,
    "the headers": CARRIED,
    "a gateway route": GatewayRoute(PROVIDER, SECRET),
    "a direct route": DirectRoute(PROVIDER, SECRET, key_is_users=True),
    "a transport": GatewayTransport(app, provider="openai", api_key_id="k", headers=CARRIED.put_on),
    "a model through the gateway": build_model(REQUEST, GatewayRoute(PROVIDER, SECRET), OPTIONS, ends=ENDS),
    "a direct model": build_model(REQUEST, DirectRoute(PROVIDER, SECRET, True), OPTIONS, ends=ENDS),
}
WAYS: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "str": str,
    "format": format,
    "f-string": lambda held: f"{held} {held!r} {held!s}",
    "percent": lambda held: "%s %r" % (held, held),  # noqa: UP031 - it is one of the ways
    "in a list": lambda held: f"{[held]} { ({'a': held}) }",
    "vars": lambda held: repr(getattr(held, "__dict__", "")),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", HOLDERS)
def test_no_way_of_printing_shows_it(what: str, way: str) -> None:
    """Not even the hint that other secrets show."""
    shown = WAYS[way](HOLDERS[what])
    assert CANARY not in shown
    assert CANARY[:4] not in shown.replace("sk-fake-key", "")


@pytest.mark.parametrize("what", ["the key", "the headers", "a gateway route", "a direct route"])
def test_what_is_printed_says_that_something_is_hidden(what: str) -> None:
    """Whoever debugs sees that there is a credential."""
    for way in ("repr", "str", "format", "f-string", "percent"):
        assert REDACTED in WAYS[way](HOLDERS[what])


@pytest.mark.parametrize("what", HOLDERS)
def test_a_log_line_with_a_traceback_shows_nothing(what: str) -> None:
    """With the object as an argument, in the exception, and as its note."""
    held = HOLDERS[what]
    stream = io.StringIO()
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler(stream))
    try:
        error = ValueError(held)
        error.add_note(f"{held}")
        raise error
    except ValueError:
        logger.exception("failed with %s and %r", held, held)
    assert CANARY not in stream.getvalue()
    assert "failed with" in stream.getvalue()


@pytest.mark.parametrize("what", HOLDERS)
def test_the_locals_of_a_traceback_show_nothing(what: str) -> None:
    """As error reporters collect them."""
    held = HOLDERS[what]
    try:
        raise ValueError(type(held).__name__)
    except ValueError as error:
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert CANARY not in "".join(frames.format())


@pytest.mark.parametrize("what", ["the key", "the headers"])
def test_it_does_not_travel_by_serialisation(what: str) -> None:
    """Pickled, it becomes a word; JSON has no word for it, and what stands in for unknown things gets the word too."""
    held = HOLDERS[what]
    assert pickle.loads(pickle.dumps(held)) == REDACTED
    assert CANARY.encode() not in pickle.dumps(held)
    assert copy.copy(held) is held
    assert copy.deepcopy(held) is held
    for encode in (json.dumps, msgspec.json.encode, msgspec.msgpack.encode):
        with pytest.raises(TypeError):
            encode(held)
    assert json.dumps({"a": held}, default=str) == json.dumps({"a": REDACTED})
    assert msgspec.json.encode(held, enc_hook=str) == json.dumps(REDACTED).encode()


@pytest.mark.parametrize("what", ["a gateway route", "a direct route"])
def test_a_route_does_not_travel_by_serialisation(what: str) -> None:
    """Nor as a dictionary, nor as JSON of one."""
    held = HOLDERS[what]
    assert CANARY not in repr(dataclasses.asdict(held))
    assert CANARY.encode() not in pickle.dumps(held)
    assert CANARY not in json.dumps(dataclasses.asdict(held), default=str)
    assert CANARY.encode() not in msgspec.json.encode(held, enc_hook=str)


@pytest.mark.parametrize("what", ["a model through the gateway", "a direct model"])
async def test_what_the_sdk_raises_and_logs_shows_nothing(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its errors hold the request, whose headers hold a placeholder; so do its debug lines."""
    client = HOLDERS[what].client.with_options(max_retries=0)
    with caplog.at_level(logging.DEBUG), pytest.raises(openai.APIError) as raised:
        await client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "Hi"}])
    error = raised.value
    seen = [
        repr(error),
        str(error),
        repr(vars(error)),
        "".join(traceback.format_exception(error)),
        caplog.text,
    ]
    seen.append(repr(error.request.headers.multi_items()))
    assert all(CANARY not in one for one in seen)
    assert "Bearer nobody" not in seen[-1]


async def test_a_debugger_is_told_of_each_exchange_without_what_authenticates_it() -> None:
    """Headers that may hold a secret are named, not shown."""
    told: list[HttpCall] = []
    options = ModelOptions(active_api_key_id="key0000001", record_http=told.append)
    model = build_model(REQUEST, DirectRoute(PROVIDER, SECRET, True), options, ends=ENDS)
    with pytest.raises(openai.AuthenticationError):
        await model.client.with_options(max_retries=0).models.list()  # type: ignore[union-attr]
    (call,) = told
    assert (call.method, call.url, call.status) == ("GET", "https://api.openai.com/v1/models", 401)
    assert call.request_headers["authorization"] == REDACTED
    assert call.request_headers["x-trace"] == REDACTED
    assert call.request_headers["user-agent"].startswith("coder-agents/")
    assert call.response_headers["content-type"] == "application/json"
    assert CANARY not in repr(told)


async def test_a_debugger_that_fails_fails_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """It is in the log, and the answer is what it would have been."""

    def record(call: HttpCall) -> None:
        raise ZeroDivisionError("hunter2")

    options = ModelOptions(active_api_key_id="key0000001", record_http=record)
    model = build_model(REQUEST, DirectRoute(PROVIDER, SECRET, True), options, ends=ENDS)
    with pytest.raises(openai.AuthenticationError):
        await model.client.with_options(max_retries=0).models.list()  # type: ignore[union-attr]
    assert "an HTTP exchange of a chat could not be recorded" in caplog.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Incorrect key {CANARY}.", f"Incorrect key {REDACTED}."),
        (f"{CANARY} {CANARY}", f"{REDACTED} {REDACTED}"),
        (f"Incorrect key {CANARY[:-1]}\u2026", f"Incorrect key {REDACTED}\u2026"),
        (f"Incorrect key {CANARY[:8]}", f"Incorrect key {REDACTED}"),
        (f"Incorrect key {CANARY[:7]}", f"Incorrect key {CANARY[:7]}"),
        ("Overloaded\u2026", "Overloaded\u2026"),
    ],
)
def test_a_key_is_taken_out_of_what_a_provider_says(text: str, shown: str) -> None:
    """Also one that was cut, but for the few characters that say which vendor's it is."""
    assert redacted(text, [Delegated(""), SECRET]) == shown
