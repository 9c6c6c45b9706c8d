"""The options of an instance."""

from __future__ import annotations

import pytest

from providers.options import INSTANCE_NAME, ProviderOptions


@pytest.mark.parametrize(
    ("region", "base_url", "on_bedrock"),
    [("", "", False), ("eu-central-1", "", True), ("", "https://bedrock.example", True)],
)
def test_an_instance_is_on_bedrock_when_it_knows_where_bedrock_is(
    region: str, base_url: str, on_bedrock: bool
) -> None:
    """A region or a base URL; a model alone leads nowhere."""
    options = ProviderOptions(
        type="anthropic", name="a", bedrock_region=region, bedrock_base_url=base_url, bedrock_model="m"
    )
    assert options.on_bedrock is on_bedrock


@pytest.mark.parametrize(
    ("name", "fits"), [("openai", True), ("a-1-b", True), ("-a", False), ("a\n", False), ("A", False)]
)
def test_an_instance_name_is_a_route_segment(name: str, fits: bool) -> None:
    """Lower-case groups joined by single dashes, matched whole."""
    assert (INSTANCE_NAME.fullmatch(name) is not None) is fits
