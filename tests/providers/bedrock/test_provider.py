"""An instance on Bedrock: its routes, its address and its region."""

from __future__ import annotations

import pytest

from providers.base import BEARER, Credential, Headers
from providers.bedrock.provider import ANTHROPIC_ON_BEDROCK, base_url_of, region_of
from providers.secret import Secret
from tests.middleware.bedrock import BEDROCK_INSTANCE


def test_bedrock_has_messages_and_nothing_else() -> None:
    """Counting tokens and listing models are other services there, with other answers."""
    (endpoint,) = ANTHROPIC_ON_BEDROCK.endpoints
    assert endpoint.serves("POST", "/v1/messages")
    assert endpoint.api is not None
    assert not endpoint.serves("POST", "/v1/messages/count_tokens")


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([(b"authorization", b"Bearer one")], "one"),
        ([(b"x-api-key", b"one")], "one"),
        ([(b"x-api-key", b"other"), (b"authorization", b"Bearer one")], "one"),
        ([(b"x-api-key", b""), (b"authorization", b"Basic one")], None),
        ([], None),
    ],
)
def test_a_users_own_key_is_a_bearer(headers: Headers, key: str | None) -> None:
    """Bedrock knows no other place for one; of two, the one that came as a bearer counts."""
    assert BEDROCK_INSTANCE.user_credential(headers) == (Credential(BEARER, Secret(key)) if key else None)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("bedrock-runtime.eu-central-1.amazonaws.com", "eu-central-1"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("vpce-012-abc.bedrock-runtime.us-east-1.vpce.amazonaws.com", "us-east-1"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("bedrock-runtime.eu-central-1.amazonaws.com.evil.test", ""),
        ("proxy.test", ""),
        ("", ""),
    ],
)
def test_the_region_of_an_address(host: str, region: str) -> None:
    """AWS's own addresses name it."""
    assert region_of(host) == region


@pytest.mark.parametrize("region", ["eu-central-1", "cn-north-1"])
def test_the_address_of_a_region(region: str) -> None:
    """There and back again."""
    assert region_of(base_url_of(region).removeprefix("https://")) == region
