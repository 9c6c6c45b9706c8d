"""A provider instance on Amazon Bedrock, as its options describe it.

Imported only where there is such an instance: botocore takes longer to load than all the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from botocore.session import Session

from gateway.aws_keys import AwsSigner, ChainKeys, KeySource, StaticKeys
from gateway.settings_error import SettingsError
from providers.bedrock import rules
from providers.bedrock.provider import ANTHROPIC_ON_BEDROCK, BedrockProvider, base_url_of, region_of
from providers.bedrock.request import Models
from providers.bedrock.signing import AwsKeys
from providers.options import ProviderOptions


def bedrock_provider(given: ProviderOptions, beta_flags: Mapping[str, tuple[str, ...]]) -> BedrockProvider:
    """`beta_flags` may go along, each to the models named with it.

    Raises `SettingsError` where nothing says for which region to sign, or one half of a key pair is missing.
    """
    base_url = given.bedrock_base_url or base_url_of(given.bedrock_region)
    return BedrockProvider(
        type=ANTHROPIC_ON_BEDROCK,
        name=given.name,
        base_url=base_url,
        keys=given.bedrock_access_keys,
        enabled=given.enabled,
        models=Models(
            given.bedrock_model or rules.DEFAULT_MODEL,
            given.bedrock_small_fast_model or rules.DEFAULT_SMALL_FAST_MODEL,
            beta_flags,
        ),
        signer=AwsSigner(_keys(given), _region(given, base_url)),
    )


def _keys(given: ProviderOptions) -> KeySource:
    if len(given.bedrock_access_keys) != len(given.bedrock_access_key_secrets):
        raise SettingsError(
            f'provider "{given.name}" has one half of an AWS access key pair: add the other half'
        )
    pairs = zip(given.bedrock_access_keys, given.bedrock_access_key_secrets, strict=True)
    static = [AwsKeys(access_key, secret_key) for access_key, secret_key in pairs]
    return StaticKeys(static) if static else ChainKeys()


def _region(given: ProviderOptions, base_url: str) -> str:
    """What the operator says, else the address, else AWS's own configuration."""
    region = (
        given.bedrock_region
        or region_of(urlsplit(base_url).hostname or "")
        or Session().get_config_variable("region")
    )
    if not region:
        raise SettingsError(
            f'provider "{given.name}" has an address that names no AWS region: give it a BEDROCK_REGION to sign for'
        )
    return str(region)
