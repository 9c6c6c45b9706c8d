"""An instance on Bedrock: its routes, its address and its region."""

from __future__ import annotations

import pytest

from providers.bedrock.provider import ANTHROPIC_ON_BEDROCK, base_url_of, region_of


def test_bedrock_has_messages_and_nothing_else() -> None:
    """Counting tokens and listing models are other services there, with other answers."""
    (endpoint,) = ANTHROPIC_ON_BEDROCK.endpoints
    assert endpoint.serves("POST", "/v1/messages")
    assert endpoint.api is not None
    assert not endpoint.serves("POST", "/v1/messages/count_tokens")


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
