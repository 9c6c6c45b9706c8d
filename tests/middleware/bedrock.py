"""An instance on Bedrock for the tests of the layer, and what AWS knows of its keys. Every secret is obviously none."""

from __future__ import annotations

import dataclasses
from typing import Final

from gateway.aws_keys import AwsSigner, StaticKeys
from providers.bedrock.provider import ANTHROPIC_ON_BEDROCK, BedrockProvider
from providers.bedrock.request import Models
from providers.bedrock.signing import AwsKeys
from providers.secret import Secret
from tests.aws_signature import Account

REGION: Final = "eu-central-1"
ACCESS_KEY: Final = "AKIAFAKEFAKEFAKE0001"
SECOND_ACCESS_KEY: Final = "AKIAFAKEFAKEFAKE0002"
SECRETS: Final = {ACCESS_KEY: "fakesecretfakesecret1", SECOND_ACCESS_KEY: "fakesecretfakesecret2"}
ACCOUNTS: Final = {key: Account(secret) for key, secret in SECRETS.items()}
PAIRS: Final = [AwsKeys(Secret(key), Secret(secret)) for key, secret in SECRETS.items()]

BEDROCK_INSTANCE: Final = BedrockProvider(
    type=ANTHROPIC_ON_BEDROCK,
    name="bedrock",
    base_url="https://bedrock.test:8443/base/",
    keys=tuple(pair.access_key for pair in PAIRS),
    models=Models("anthropic.big-v1:0", "anthropic.small-v1:0"),
    signer=AwsSigner(StaticKeys(PAIRS), REGION),
)
CHAIN_INSTANCE: Final = dataclasses.replace(BEDROCK_INSTANCE, keys=())
"""Names no key of its own, as where the default chain has them."""
