"""Signatures, as AWS would judge them: each part of a request that changes makes them wrong."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from providers.bedrock.signer import Unsigned
from providers.bedrock.signing import AwsKeys, signature
from providers.secret import Secret
from tests.aws_signature import Account, problem
from tests.upstream import Received

REGION = "eu-central-1"
KEYS = AwsKeys(Secret("AKIAFAKEFAKEFAKE0001"), Secret("fakesecretfakesecretfakesecret"))
SESSION = dataclasses.replace(KEYS, session_token=Secret("faketoken/faketoken+faketoken=="))
ACCOUNTS = {"AKIAFAKEFAKEFAKE0001": Account("fakesecretfakesecretfakesecret")}
SESSIONS = {
    "AKIAFAKEFAKEFAKE0001": Account("fakesecretfakesecretfakesecret", "faketoken/faketoken+faketoken==")
}
PATH = "/base/model/anthropic.claude-v1%3A0/invoke"
HEADERS = [(b"host", b"bedrock.test:8443"), (b"content-type", b"application/json")]
REQUEST = Unsigned("POST", f"https://bedrock.test:8443{PATH}", HEADERS, b'{"a":1}')


def received(keys: AwsKeys = KEYS, region: str = REGION) -> Received:
    """The request as it would arrive."""
    added = signature(keys, region, REQUEST).headers
    return Received("POST", "", PATH.encode(), b"", [*HEADERS, *added, (b"user-agent", b"any")], REQUEST.body)


def test_a_request_is_signed() -> None:
    """With the pair alone, and with the token of a session."""
    assert problem(received(), ACCOUNTS, region=REGION) == ""
    assert problem(received(SESSION), SESSIONS, region=REGION) == ""
    assert received().header("x-amz-security-token") is None
    assert signature(KEYS, REGION, REQUEST).access_key == KEYS.access_key


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("body", b'{"a":2}'),
        ("method", "PUT"),
        ("raw_path", PATH.replace("%3A", ":").encode()),
        ("query", b"a=b"),
        ("headers", b"elsewhere.test"),
    ],
)
def test_what_was_signed_cannot_change(part: str, value: object) -> None:
    """Method, path, query, host and body."""
    request = received()
    setattr(request, part, [(b"host", value), *request.headers[1:]] if part == "headers" else value)
    assert problem(request, ACCOUNTS, region=REGION) == "the signature is wrong"


def test_another_secret_or_region_is_noticed() -> None:
    """The judge in the tests is no rubber stamp."""
    wrong = {"AKIAFAKEFAKEFAKE0001": Account("another")}
    assert problem(received(), wrong, region=REGION) == "the signature is wrong"
    assert (
        problem(received(region="us-east-1"), ACCOUNTS, region=REGION)
        == "signed for another region or service"
    )
    assert problem(received(SESSION), ACCOUNTS, region=REGION) == "another session token"
    assert problem(received(), {}, region=REGION) == "an unknown access key"


def test_nothing_of_the_keys_shows(caplog: pytest.LogCaptureFixture) -> None:
    """Not in a repr, and not in a log that takes everything from everybody."""
    caplog.set_level(logging.DEBUG)
    signature(SESSION, REGION, REQUEST)
    shown = repr(SESSION) + repr(signature(SESSION, REGION, REQUEST).access_key) + caplog.text
    for secret in (SESSION.secret_key, SESSION.session_token):
        assert secret is not None
        assert secret.reveal_secret_value() not in shown
